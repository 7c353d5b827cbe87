//! Requests and replies of the agent's socket: HTTP/1.1 with JSON bodies.
//!
//! | request | body | reply |
//! |---|---|---|
//! | `POST /v1/attachments` | [`LeaseRequest`] | 201 [`Lease`] |
//! | `PUT /v1/attachments/{container}/{ifname}` | [`EndpointSpec`] | 200 [`EndpointInfo`] |
//! | `GET /v1/attachments/{container}/{ifname}` | | 200 [`EndpointInfo`] |
//! | `POST /v1/attachments/{container}/{ifname}/check` | [`CheckRequest`] | 204 |
//! | `DELETE /v1/attachments/{container}/{ifname}` | | 204, also when it is gone already |
//! | `PUT /v1/attachments/{container}/{ifname}/bandwidth` | [`Bandwidth`] | 200 [`EndpointInfo`] |
//! | `POST /v1/gc` | [`GcRequest`] | 200 [`GcReply`] |
//! | `GET /v1/status` | | 200 [`Status`] |
//! | `GET /v1/endpoints` | | 200 list of [`EndpointInfo`] |
//! | `GET /v1/ports` | | 200 list of [`PortInfo`], by port |
//! | `GET /v1/peers` | | 200 list of [`PeerInfo`], by name |
//! | `GET /v1/maps` | | 200 list of [`MapInfo`] |
//! | `GET /v1/maps/{name}` | | 200 list of JSON objects, one an entry |
//! | `GET /v1/drops` | | 200 [`Drops`] |
//! | `GET /v1/drops?follow=true` | | 200 [`Drop`]s as they happen, one JSON object a line |
//! | `GET /v1/flows?pod=&state=&protocol=&min-age=&max-age=&limit=` | | 200 [`Flows`]; `pod` is an address or an endpoint's number and may come twice |
//! | `GET /v1/nat?limit=` | | 200 [`Translations`] |
//! | `GET /v1/trace?address=&port=&protocol=` | | 200 [`Traced`] packets as they come, one JSON object a line; one client at a time |
//!
//! Every failure is a status of 400 or more with an [`ApiError`].

mod bandwidth;
mod error;
mod flow;
mod peer;
mod port;
mod status;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::mac::Mac;

pub use bandwidth::{Bandwidth, LimitCounters, LimitUse, RateError, RateLimit};
pub use error::{ApiError, ErrorKind};
pub use flow::{Exhausted, FlowInfo, Flows, Mapping, Socket, TableUse, Traced, Translations};
pub use peer::{PeerInfo, PeerWay};
pub use port::{PortInfo, PortMapping, PortProtocol, share};
pub use status::{
    BandwidthStatus, Drop, Drops, KubernetesStatus, MapInfo, NetworkStatus, OverlayStatus, PoolStatus, PortsStatus,
    ProxyStatus, Status, UnmanagedPod, UplinkStatus, VerdictCount,
};

/// Where the agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/weft/agent.sock";

/// One attachment: a container's interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachmentKey {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

/// Asks for an attachment's record and, with built-in IPAM, its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRequest {
    /// Which attachment.
    pub key: AttachmentKey,
    /// The network's name from the configuration; garbage collection is by network.
    pub network: String,
    /// `CNI_NETNS`, verbatim.
    pub netns: String,
    /// Who makes the interface.
    pub origin: Origin,
    /// Who chooses the addresses.
    pub ipam: IpamRequest,
    /// The pod that the runtime named in `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
}

/// Who makes the interface of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// weft makes the veth pair, and removes it.
    Created,
    /// Another plugin of the chain made it, and removes it.
    Adopted,
}

/// Who chooses the addresses of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum IpamRequest {
    /// The agent, from its pools: one address of each family.
    #[serde(rename_all = "camelCase")]
    BuiltIn {
        /// Exactly these addresses; a family not named here is chosen freely.
        #[serde(default)]
        ips: Vec<IpAddr>,
        /// Range sets: one address out of each set, which lies inside the agent's pools.
        #[serde(default)]
        ranges: Vec<Vec<IpRange>>,
    },
    /// Someone else: the addresses come with the [`EndpointSpec`].
    Delegated,
}

/// An inclusive range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpRange {
    /// First address.
    pub start: IpAddr,
    /// Last address, not before `start`.
    pub end: IpAddr,
}

/// The pod that an attachment belongs to, as the runtime named it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What an attachment was granted; its record is on disk by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lease {
    /// Addresses, IPv4 first; empty when delegated.
    pub addresses: Vec<IpAddr>,
    /// Name for the host end of the veth; see [`crate::link::host_ifname`].
    pub host_ifname: String,
    /// Link group that marks the host end as this agent's.
    pub link_group: u32,
    /// MTU of the pod's interface in bytes, unless the configuration names one.
    pub mtu: u32,
}

/// An endpoint whose interface exists and waits for its programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Name of the host end of the veth.
    pub host_ifname: String,
    /// Index of the host end in the node's namespace.
    pub host_ifindex: u32,
    /// MAC of the host end.
    pub host_mac: Mac,
    /// MAC of the pod's interface.
    pub pod_mac: Mac,
    /// Every address of the pod, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// MTU of the pod's interface in bytes.
    pub mtu: u32,
    /// Ports of the node that are the pod's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// How fast the pod may be.
    #[serde(default, skip_serializing_if = "Bandwidth::is_unlimited")]
    pub bandwidth: Bandwidth,
}

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Addresses are held, the interface may not exist yet.
    Leased,
    /// Packets flow.
    Ready,
}

/// One attachment as the agent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointInfo {
    /// The agent's number for it.
    pub id: u32,
    /// Which attachment.
    pub key: AttachmentKey,
    /// The network's name.
    pub network: String,
    /// How far it has come.
    pub stage: Stage,
    /// Who made the interface.
    pub origin: Origin,
    /// `CNI_NETNS` of its ADD.
    pub netns: String,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// Addresses it holds; with [`Stage::Ready`] the endpoint's, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The endpoint, once it is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// What came of its limits, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitUse>,
}

/// Asks whether kernel, maps and record agree with what ADD returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckRequest {
    /// Addresses of the previous result that belong to this attachment's interface.
    pub addresses: Vec<IpAddr>,
}

/// Asks to remove every attachment of a network that is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcRequest {
    /// The network's name.
    pub network: String,
    /// Attachments that stay.
    pub valid: Vec<AttachmentKey>,
}

/// What a garbage collection did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcReply {
    /// Attachments that were removed.
    pub removed: Vec<AttachmentKey>,
    /// One line for each that could not be removed whole.
    pub errors: Vec<String>,
}
