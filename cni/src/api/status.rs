//! What the agent tells of itself: health, maps, verdicts.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{AttachmentKey, TableUse};
use crate::mac::Mac;

/// The agent's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// Whether ADD is served: programs are loaded and every pool has an address left.
    pub ready: bool,
    /// Why not, one sentence each; also warnings that do not make the agent unready.
    pub problems: Vec<String>,
    /// How programs are attached: `tcx` or `clsact`.
    pub attach: String,
    /// Kernel release.
    pub kernel: String,
    /// Version of the maps' layout.
    pub abi: u32,
    /// Attachments with a record.
    pub endpoints: usize,
    /// The pools.
    pub pools: Vec<PoolStatus>,
    /// The ways off the node.
    #[serde(default)]
    pub network: NetworkStatus,
    /// Ports of the node that are pods'.
    #[serde(default)]
    pub ports: PortsStatus,
    /// What holds the limits of pods.
    #[serde(default)]
    pub bandwidth: BandwidthStatus,
    /// What Kubernetes says; none where the agent runs without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesStatus>,
    /// Who translates services beside the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyStatus>,
    /// The tables of flows, as the last sweep found them.
    #[serde(default)]
    pub tables: Vec<TableUse>,
    /// Milliseconds since the agent started.
    pub uptime_ms: u64,
}

/// What the agent knows of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesStatus {
    /// Where the API server is asked.
    pub api_server: String,
    /// Whether every watch stands.
    pub connected: bool,
    /// For how long that has been so, in milliseconds.
    pub since_ms: u64,
    /// Why it is not connected, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Nodes of the cluster that are known, this one among them.
    pub nodes: usize,
    /// Services whose addresses are known.
    pub services: usize,
    /// Pods of this node.
    pub pods: usize,
    /// Pods of this node that another plugin has started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmanaged: Vec<UnmanagedPod>,
    /// The network configuration that runtimes read, once it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflist: Option<String>,
}

/// A pod that another plugin has started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Who translates services on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// `iptables`, `nftables` or `ipvs`, as kube-proxy calls its modes, or `none`.
    pub mode: String,
    /// What told so, a sentence.
    pub evidence: String,
}

/// Ports of the node that are pods'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortsStatus {
    /// Mappings that stand.
    pub mappings: u64,
    /// How processes of the node reach them: `cgroup` by every address of the node and its loopback, `loopback` by its
    /// addresses alone, or `none`.
    pub sockets: String,
    /// The cgroup whose processes do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Why it is not `cgroup`, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The ways off the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The overlay; none where the network itself routes to pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayStatus>,
    /// Devices that lead off the node.
    pub uplinks: Vec<UplinkStatus>,
    /// Other nodes that are known.
    pub peers: usize,
    /// MTU that new pods get, in bytes.
    pub pod_mtu: u32,
}

/// What holds the limits of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthStatus {
    /// `edt` (a departure time for each packet), `htb` (a class for each pod and direction) or `none`.
    pub method: String,
    /// Pods with a limit.
    pub limited: u64,
    /// Why no limit can be held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The overlay between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayStatus {
    /// Its device.
    pub device: String,
    /// UDP port.
    pub port: u16,
    /// Number of the virtual network.
    pub vni: u32,
    /// Largest inner packet, in bytes.
    pub mtu: u32,
}

/// A device that leads off the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UplinkStatus {
    /// Its name.
    pub device: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// What pods' packets leave with, at most one of a family.
    pub addresses: Vec<IpAddr>,
}

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// The pod range.
    pub cidr: IpNet,
    /// Addresses that can be leased at all; saturates at `u64::MAX`.
    pub capacity: u64,
    /// Addresses leased now.
    pub used: u64,
    /// Addresses that rest after their release.
    pub resting: u64,
}

/// One map of the datapath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapInfo {
    /// Name.
    pub name: String,
    /// Kernel type, as bpftool writes it.
    pub kind: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Room for entries; bytes for a ring buffer.
    pub max_entries: u32,
    /// Entries in it now, where they can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Where it is pinned.
    pub pinned: String,
}

/// Drop counters and the newest records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drops {
    /// Every verdict that was counted at least once.
    pub counters: Vec<VerdictCount>,
    /// Newest last.
    pub recent: Vec<Drop>,
}

/// How often a verdict fell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictCount {
    /// Name of the reason.
    pub reason: String,
    /// `egress` or `ingress`, seen from the pod.
    pub direction: String,
    /// Whether such packets are dropped.
    pub drop: bool,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One dropped packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drop {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Name of the reason.
    pub reason: String,
    /// `egress` or `ingress`, seen from the pod.
    pub direction: String,
    /// Host end of the pod's veth.
    pub ifindex: u32,
    /// The attachment behind it, where it is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<AttachmentKey>,
    /// Source, where the packet was parsed that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Destination, where the packet was parsed that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// Source MAC.
    pub src_mac: Mac,
    /// Destination MAC.
    pub dst_mac: Mac,
    /// Ethertype.
    pub ethertype: u16,
    /// IP protocol or next header.
    pub protocol: u8,
    /// Bytes on the wire.
    pub len: u32,
}
