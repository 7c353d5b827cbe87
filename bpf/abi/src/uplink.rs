//! The value of `uplinks`: a device that leads off the node.

use crate::Addr;

/// A device that leads off the node, found by its interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// IPv4 address that pods' packets leave with; all zero when the device has none.
    pub v4: Addr,
    /// IPv6 address that pods' packets leave with; all zero when the device has none.
    pub v6: Addr,
}

const _: () = assert!(size_of::<Uplink>() == 32 && align_of::<Uplink>() == 4);
