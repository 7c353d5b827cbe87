//! Flows, translations, and packets that somebody traces.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::AttachmentKey;

/// Flows that match, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flows {
    /// Flows that match, as many as were asked for; by inside, then outside.
    pub flows: Vec<FlowInfo>,
    /// Flows that match, told or not.
    pub matching: u64,
    /// Flows in the table.
    pub total: u64,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowInfo {
    /// Name of the IP protocol, or its number.
    pub protocol: String,
    /// The pod's end; the node's for a flow of its own.
    pub inside: Socket,
    /// The other end.
    pub outside: Socket,
    /// What the other end takes for the inside, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub translated: Option<Socket>,
    /// Whether the outside began it.
    pub inbound: bool,
    /// Whether it returns through the node's stack.
    pub via_stack: bool,
    /// Whether it is the node's own.
    pub host: bool,
    /// `opening`, `established`, `half-closed`, `closing`, `single` or `stream`.
    pub state: String,
    /// Seconds since the first packet.
    pub age: u64,
    /// Seconds since the last packet.
    pub idle: u64,
    /// Seconds until it is removed, if no packet comes.
    pub expires_in: u64,
    /// Uplink that the first packet took, by interface index; 0 for none.
    pub ifindex: u32,
    /// The attachment of the pod, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<AttachmentKey>,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Socket {
    /// Address.
    pub address: IpAddr,
    /// Port, or the identifier of an ICMP echo; none where the protocol has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Translations, and how much room is left for more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Translations {
    /// Translations, as many as were asked for; by the node's end, then outside.
    pub mappings: Vec<Mapping>,
    /// How full the tables are.
    pub tables: Vec<TableUse>,
    /// Destinations towards which ports ran out, the worst first.
    pub exhausted: Vec<Exhausted>,
}

/// What stands for a pod's socket on the outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Name of the IP protocol, or its number.
    pub protocol: String,
    /// What the outside sees.
    pub node: Socket,
    /// The outside.
    pub outside: Socket,
    /// Where its packets go to.
    pub inside: Socket,
    /// Seconds since the last packet from the outside; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
}

/// How full a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableUse {
    /// Name of the map.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Room for entries.
    pub room: u32,
}

/// A destination towards which no port was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exhausted {
    /// Name of the IP protocol, or its number.
    pub protocol: String,
    /// The destination.
    pub outside: Socket,
    /// Flows that found no port.
    pub flows: u64,
}

/// A packet at a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traced {
    /// Microseconds since the Unix epoch.
    pub time_us: u64,
    /// Name of the hook.
    pub hook: String,
    /// Name of the device, or its index where it has none any more.
    pub device: String,
    /// Source as it left the hook.
    pub src: Socket,
    /// Destination as it left the hook.
    pub dst: Socket,
    /// Name of the IP protocol, or its number.
    pub protocol: String,
    /// Bytes on the wire, link-layer header included.
    pub len: u32,
    /// Name of the verdict.
    pub reason: String,
    /// What it means, in a sentence.
    pub meaning: String,
    /// Whether the packet was dropped.
    pub drop: bool,
}
