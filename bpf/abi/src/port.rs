//! The value of `ports`: a port of the node that is a pod's.

use crate::Addr;

/// Where a packet to a port of the node goes, found by [`Target`](crate::Target): the address that was asked for, or
/// `0.0.0.0` and `::` for every address of the node in that family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// Address of the pod, of the family of the key.
    pub pod: Addr,
    /// Port of the pod in network byte order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
    /// Number of the pod's endpoint: a flow to another endpoint is one to a pod that is gone.
    pub endpoint_id: u32,
}

const _: () = assert!(size_of::<HostPort>() == 24 && align_of::<HostPort>() == 4);
