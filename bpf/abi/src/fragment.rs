//! Key and value of `frags`: the ports of a datagram whose first fragment alone has them.

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
