//! Why an attachment's request failed.

use std::net::IpAddr;

use weft_cni::api::{AttachmentKey, PortMapping};

use crate::ipam::IpamError;
use crate::kernel::KernelError;
use crate::node::Taken;
use crate::text;

use super::StoreError;

/// A request about an attachment failed; nothing of it stays unless the error says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("attachment {} exists already: run DEL for it first", show(key))]
    Exists { key: AttachmentKey },
    #[error("attachment {} shares its host interface with {}: use another container id", show(key), show(other))]
    NameTaken { key: AttachmentKey, other: AttachmentKey },
    #[error("attachment {} is unknown: run ADD for it first", show(key))]
    NotFound { key: AttachmentKey },
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("portMappings[{index}].{field} {problem}")]
    Port { index: usize, field: &'static str, problem: String },
    #[error("portMappings[{index}].hostPort: {mapping} is held by {holder}: remove that pod, or choose another port")]
    PortOfPod { index: usize, mapping: PortMapping, holder: String },
    #[error(
        "portMappings[{index}].hostPort: {mapping} is held by {}, which listens on {}: stop it, or choose another port \
         or address",
        taken.holder,
        taken.listener
    )]
    PortOfProcess { index: usize, mapping: PortMapping, taken: Box<Taken> },
    #[error("cannot ask which ports of the node are taken")]
    Sockets { source: Box<KernelError> },
    #[error("cannot limit {}: it has the limits that it had", show(key))]
    Limit { key: AttachmentKey, source: Box<KernelError> },
    #[error(transparent)]
    Ipam(#[from] IpamError),
    #[error("address {addr} is in use by {}: remove that attachment or take another address", show(holder))]
    InUse { addr: IpAddr, holder: AttachmentKey },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot attach {}", show(key))]
    Attach { key: AttachmentKey, source: Box<KernelError> },
    #[error("cannot remove {}: {}", show(key), join(errors))]
    Remove { key: AttachmentKey, errors: Vec<KernelError> },
    #[error("attachment {} is not whole: run DEL and ADD for it", show(key))]
    NotWhole { key: AttachmentKey, source: Box<KernelError> },
    #[error("attachment {} was never handed over: run DEL and ADD for it", show(key))]
    NotReady { key: AttachmentKey },
    #[error("attachment {} does not hold {addr}: run DEL and ADD for it", show(key))]
    NotItsAddress { key: AttachmentKey, addr: IpAddr },
}

/// `container/interface`.
pub(super) fn show(key: &AttachmentKey) -> String {
    format!("{}/{}", key.container_id, key.ifname)
}

fn join(errors: &[KernelError]) -> String {
    errors.iter().map(|error| text::chain(error)).collect::<Vec<_>>().join("; ")
}
