//! An attachment's record and the endpoint it may have become.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weft_cni::api::{AttachmentKey, EndpointInfo, EndpointSpec, Origin, PodRef, Stage};

/// An endpoint as the datapath and the node's devices need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The agent's number for it; unique among the endpoints that live.
    pub id: u32,
    /// Who made its interface.
    pub origin: Origin,
    /// Its interface and addresses.
    pub spec: EndpointSpec,
}

/// What the state directory holds of one attachment: the only truth about its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The agent's number for it.
    pub id: u32,
    /// Which attachment.
    pub key: AttachmentKey,
    /// The network's name.
    pub network: String,
    /// `CNI_NETNS` of its ADD.
    pub netns: String,
    /// Who makes the interface.
    pub origin: Origin,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// Addresses leased from the pools; empty when another plugin chose them.
    pub leased: Vec<IpAddr>,
    /// The endpoint, once it was handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// The boot that it belongs to (`/proc/sys/kernel/random/boot_id`); void in any other.
    pub boot: String,
    /// `CLOCK_BOOTTIME` of the lease, in nanoseconds.
    pub created_ns: u64,
}

impl Record {
    /// The endpoint, if it was handed over.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let spec = self.endpoint.clone()?;
        Some(Endpoint { id: self.id, origin: self.origin, spec })
    }

    /// Every address that nobody else may have while this record stands.
    pub fn addresses(&self) -> &[IpAddr] {
        self.endpoint.as_ref().map_or(&self.leased, |spec| &spec.addresses)
    }

    /// Whether the address is one of them.
    pub fn holds(&self, addr: IpAddr) -> bool {
        self.addresses().contains(&addr)
    }

    /// What the API tells of it.
    pub fn info(&self) -> EndpointInfo {
        EndpointInfo {
            id: self.id,
            key: self.key.clone(),
            network: self.network.clone(),
            stage: if self.endpoint.is_some() { Stage::Ready } else { Stage::Leased },
            origin: self.origin,
            netns: self.netns.clone(),
            pod: self.pod.clone(),
            addresses: self.addresses().to_vec(),
            endpoint: self.endpoint.clone(),
            limits: None,
        }
    }
}
