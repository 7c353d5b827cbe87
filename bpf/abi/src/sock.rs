//! Key of `socks`: sockets of the node that asked for a port of the node and were given the pod behind it.

use crate::Addr;

/// A socket and the pod that it was given; the value is the [`Target`](crate::Target) that it had asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SockPeer {
    /// The kernel's cookie of the socket.
    pub cookie: u64,
    /// Address of the pod.
    pub addr: Addr,
    /// Port of the pod in network byte order.
    pub port: u16,
    /// Zero.
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<SockPeer>() == 32 && align_of::<SockPeer>() == 8);
