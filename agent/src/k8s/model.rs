//! What of the cluster's objects is used, and nothing else of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use weft_cni::api::Bandwidth;

/// This node, as its object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnNode {
    /// Its pod ranges, IPv4 first; none while they are not known.
    pub(crate) ranges: Option<Arc<[IpNet]>>,
    /// Its `InternalIP`s, IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why there are no ranges, as a sentence with the remedy; none while the object was not seen at all.
    pub(crate) problem: Option<String>,
}

/// Which pod: its namespace and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

/// Pods of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    pub(crate) by_name: BTreeMap<PodName, Pod>,
}

/// A pod, as far as a node's network needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: Box<str>,
    /// What its bandwidth annotations ask for; none without them. A value that cannot be held is a sentence.
    pub(crate) bandwidth: Result<Option<Bandwidth>, String>,
    pub(crate) host_network: bool,
    /// Its addresses, as the kubelet tells them.
    pub(crate) addresses: Box<[IpAddr]>,
    pub(crate) phase: Phase,
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
}

/// How far a pod's life went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    /// Succeeded, failed or not known.
    Over,
}
