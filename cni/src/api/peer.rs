//! Other nodes, as this one knows them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Its name.
    pub name: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Where its pods live.
    pub pod_cidrs: Vec<IpNet>,
    /// How packets get there.
    pub way: PeerWay,
    /// The address that packets are sent to, and the only one that may send for its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<IpAddr>,
    /// Milliseconds since it is known like this.
    pub age_ms: u64,
}

/// How packets get to another node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerWay {
    /// In the overlay's packets.
    Overlay,
    /// As they are, to the node itself, which is on an uplink's own link.
    Direct,
    /// As they are, by the routes of the network.
    Network,
    /// Not at all: the node has no address of a family that this one's uplinks have.
    Unreachable,
}
