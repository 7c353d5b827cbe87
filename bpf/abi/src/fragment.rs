//! Key and value of `frags`: the ports of a datagram whose first fragment alone has them. Records of `parked`: fragments
//! that came before it.

use crate::Addr;

/// A datagram that comes in fragments (RFC 791, section 3.2; RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Source on the wire, where the fragment came in.
    pub src: Addr,
    /// Destination on the wire, where the fragment came in.
    pub dst: Addr,
    /// Identification in network byte order; that of IPv4 in the first two bytes.
    pub id: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<Fragment>() == 40 && align_of::<Fragment>() == 4);

/// What the first fragment said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Source port in network byte order, or what stands for it in a [`Tuple`](crate::Tuple).
    pub src: u16,
    /// Destination port in network byte order, or what stands for it.
    pub dst: u16,
}

const _: () = assert!(size_of::<Ports>() == 4);

/// Bytes of the longest frame that is parked, link-layer header included.
pub const PARKED_FRAME_MAX: usize = 2048;

/// A later fragment that came from outside before the first one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The datagram that it is of.
    pub key: Fragment,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ktime_ns: u64,
    /// The device by which it came.
    pub ifindex: u32,
    /// Bytes of `frame` that are the frame's.
    pub len: u32,
    /// The frame, beginning with its Ethernet header.
    pub frame: [u8; PARKED_FRAME_MAX],
}

const _: () = assert!(size_of::<Parked>() == 2104 && align_of::<Parked>() == 8);
