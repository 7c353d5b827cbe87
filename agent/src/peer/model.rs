//! Another node of the cluster, as everything here knows it: from a file, or from Kubernetes.

use std::net::IpAddr;

use ipnet::IpNet;

/// Another node: where it is, and which pods live there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Name of the node; no two have the same.
    pub(crate) name: Box<str>,
    /// Where it is reached; at least one, IPv4 first. No other node has one of them.
    pub(crate) addresses: Box<[IpAddr]>,
    /// Where its pods live. No range overlaps another, of whatever node.
    pub(crate) pod_cidrs: Box<[IpNet]>,
}

/// Every other node, and what their list says of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerSet {
    /// By name.
    pub(crate) peers: Vec<Peer>,
    /// This node's addresses as the others know them; empty where it is not listed.
    pub(crate) own_addresses: Vec<IpAddr>,
}
