//! The value of `peers`: where the pods of a range live.

use crate::Addr;

/// The node behind a pod range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Address of the node: the tunnel's far end, and the only one that may send for this range. All zero for the
    /// node's own ranges.
    pub node: Addr,
    /// Interface index of the overlay device; 0 where the network itself routes to the range.
    pub device: u32,
    /// Number of the virtual network, 24 bits; 0 without overlay.
    pub vni: u32,
    /// [`PeerFlags`] of this range.
    pub flags: u32,
    /// Largest packet that fits the overlay device, in bytes from its IP header on; 0 without overlay.
    pub mtu: u32,
}

const _: () = assert!(size_of::<Peer>() == 32 && align_of::<Peer>() == 4);

/// Bits of [`Peer::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFlags;

impl PeerFlags {
    /// This node's own range: what is no pod in it is the node's business.
    pub const LOCAL: u32 = 1 << 0;
    /// No range but the address of a peer itself: whoever sends tunnel packets must have such an entry.
    pub const NODE: u32 = 1 << 1;
    /// Nobody's range: the node's stack knows the way, as to a service, and pods' packets go there.
    pub const STACK: u32 = 1 << 2;
}
