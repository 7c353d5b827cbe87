//! Records of the `events` ring buffer.

use crate::Addr;

/// A dropped packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropEvent {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ktime_ns: u64,
    /// Number of the [`Reason`](crate::Reason).
    pub reason: u32,
    /// Number of the [`Direction`](crate::Direction).
    pub direction: u32,
    /// Host end of the pod's veth.
    pub ifindex: u32,
    /// Bytes on the wire, link-layer header included.
    pub len: u32,
    /// Source, all zero when the packet was not parsed that far.
    pub src: Addr,
    /// Destination, all zero when the packet was not parsed that far.
    pub dst: Addr,
    /// Ethertype in host byte order.
    pub ethertype: u16,
    /// IP protocol or IPv6 next header; 0 when unknown.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// Source MAC of the frame.
    pub src_mac: [u8; 6],
    /// Destination MAC of the frame.
    pub dst_mac: [u8; 6],
}

const _: () = assert!(size_of::<DropEvent>() == 72 && align_of::<DropEvent>() == 8);
