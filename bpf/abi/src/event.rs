//! Records of the `events` ring buffer.

use crate::{Addr, Direction};

/// What became of a packet at a hook: a drop, or a packet that somebody traces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ktime_ns: u64,
    /// Number of the [`Reason`](crate::Reason).
    pub reason: u32,
    /// Number of the [`Direction`](crate::Direction).
    pub direction: u32,
    /// The device whose hook it was.
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
    /// Number of the [`EventKind`].
    pub kind: u8,
    /// Source MAC of the frame.
    pub src_mac: [u8; 6],
    /// Destination MAC of the frame.
    pub dst_mac: [u8; 6],
    /// Source port in network byte order, 0 when unknown.
    pub src_port: u16,
    /// Destination port in network byte order, 0 when unknown.
    pub dst_port: u16,
    /// Number of the [`Hook`].
    pub hook: u8,
    /// Zero.
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<Event>() == 80 && align_of::<Event>() == 8);

/// Why an [`Event`] was written.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The packet was dropped.
    Drop = 0,
    /// Somebody traces it: as it was when the hook was through with it.
    Trace = 1,
}

/// The places where the kernel runs a program of ours.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// tc ingress of a pod's host veth: what the pod sends.
    FromPod = 0,
    /// tc egress of a pod's host veth: what the node's stack sends to the pod.
    ToPod = 1,
    /// tc ingress of an uplink: what comes from other machines.
    FromNetdev = 2,
    /// tc egress of an uplink: what goes to other machines.
    ToNetdev = 3,
    /// tc ingress of the overlay device: what other nodes' pods send.
    FromOverlay = 4,
    /// tc egress of the overlay device: what goes to other nodes' pods.
    ToOverlay = 5,
    /// tc ingress of the shaper's far end: packets of limited pods whose turn has come.
    FromShaper = 6,
    /// tc ingress of the loopback device: what the node sends to itself; attached only where sockets cannot be asked.
    FromLoopback = 7,
    /// tc egress of the shaper's entrance: packets of limited pods on their way into the queue.
    ToShaper = 8,
}

impl Hook {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::FromPod,
        Self::ToPod,
        Self::FromNetdev,
        Self::ToNetdev,
        Self::FromOverlay,
        Self::ToOverlay,
        Self::FromShaper,
        Self::FromLoopback,
        Self::ToShaper,
    ];

    /// Name of the program, which is also what people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::FromNetdev => "from_netdev",
            Self::ToNetdev => "to_netdev",
            Self::FromOverlay => "from_overlay",
            Self::ToOverlay => "to_overlay",
            Self::FromShaper => "from_shaper",
            Self::FromLoopback => "from_loopback",
            Self::ToShaper => "to_shaper",
        }
    }

    /// The way in which packets pass it; at the shaper a packet's [`Token`](crate::Token) says which.
    #[inline(always)]
    pub const fn direction(self) -> Direction {
        match self {
            Self::FromPod | Self::ToNetdev | Self::ToOverlay | Self::FromLoopback => Direction::Egress,
            Self::ToPod | Self::FromNetdev | Self::FromOverlay | Self::FromShaper | Self::ToShaper => {
                Direction::Ingress
            }
        }
    }

    /// The hook of that number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
