//! Keys and values of `flows` and `nat`: who talks with whom, and under which address.

use crate::Addr;

/// A flow as one side of the node sees it: the inside is a pod (in `nat`, the node's address that stands for it),
/// the outside is whoever it talks with. Both directions have the same tuple.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Address of the pod or of the node.
    pub inside: Addr,
    /// Address of the other end.
    pub outside: Addr,
    /// Port of the inside in network byte order. Of an ICMP echo, whoever asks has the identifier for a port, whoever
    /// answers [`ECHO`]. Protocols without ports have 0.
    pub inside_port: u16,
    /// Port of the outside, likewise.
    pub outside_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<Tuple>() == 40 && align_of::<Tuple>() == 4);

impl Tuple {
    /// The flow between two ends, each an address and a port in network byte order or what stands for it.
    #[inline(always)]
    pub const fn between(
        protocol: u8,
        (inside, inside_port): (Addr, u16),
        (outside, outside_port): (Addr, u16),
    ) -> Self {
        Self { inside, outside, inside_port, outside_port, protocol, pad: [0; 3] }
    }

    /// The same flow as the other side has it.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        let Self { inside, outside, inside_port, outside_port, .. } = *self;
        Self { inside: outside, outside: inside, inside_port: outside_port, outside_port: inside_port, ..*self }
    }

    /// The same flow with another inside: from a pod's to the node's and back.
    #[inline(always)]
    #[must_use]
    pub const fn inside_as(&self, inside: Addr, inside_port: u16) -> Self {
        Self { inside, inside_port, ..*self }
    }
}

/// What stands for the port of the side that answers an ICMP echo.
pub const ECHO: u16 = 8_u16.to_be();

/// Time as the programs keep it: `CLOCK_MONOTONIC` in units of 2^30 nanoseconds (1.07 s), so that no division is
/// needed. Never 0 once the kernel has been up for two seconds.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it wraps after a century")]
pub const fn tick(ktime_ns: u64) -> u32 {
    (ktime_ns >> TICK_SHIFT) as u32
}

/// Bits by which a [`tick`] is shorter than a time in nanoseconds.
pub const TICK_SHIFT: u32 = 30;

/// A value of `flows`, by the tuple with the pod (or, for [`FlowFlags::HOST`], the node) inside.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// [`tick`] of the last packet from the inside; without translation, of the last packet either way.
    pub seen: u32,
    /// [`tick`] of the first packet.
    pub created: u32,
    /// [`FlowFlags`].
    pub flags: u32,
    /// Uplink that the first packet took, by interface index; 0 when it took none.
    pub ifindex: u32,
    /// Address that the inside is translated to; all zero without translation.
    pub nat_addr: Addr,
    /// Port that the inside is translated to, in network byte order.
    pub nat_port: u16,
    /// Zero.
    pub pad: u16,
    /// Generation of the policy that judged the flow; 0 as long as there is none.
    pub epoch: u32,
}

const _: () = assert!(size_of::<Flow>() == 40 && align_of::<Flow>() == 4);

/// A value of `nat`, by the tuple with the node's address inside: the way back of a translated flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// [`tick`] of the last packet from the outside; 0 before the first.
    pub seen: u32,
    /// [`FlowFlags`]; of the closing ones those that the outside set.
    pub flags: u32,
    /// Address that the outside's packets go to: the pod's.
    pub inside: Addr,
    /// Port that the outside's packets go to, in network byte order.
    pub inside_port: u16,
    /// Zero.
    pub pad: u16,
    /// With [`FlowFlags::PORT`] the number of the pod's endpoint: once the pod is gone the flow is void.
    pub endpoint_id: u32,
}

const _: () = assert!(size_of::<Nat>() == 32 && align_of::<Nat>() == 4);

/// Bits of [`Flow::flags`] and [`Nat::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFlags;

impl FlowFlags {
    /// The outside began it, so the inside's packets keep their source.
    pub const INBOUND: u32 = 1 << 0;
    /// The node's stack has carried (and perhaps translated) it, so the way back leads through the stack too.
    pub const VIA_STACK: u32 = 1 << 1;
    /// The inside has another address and port on the outside; `nat` has the way back.
    pub const TRANSLATED: u32 = 1 << 2;
    /// The inside is the node itself: a socket of it took a port that a pod's flow stands on.
    pub const HOST: u32 = 1 << 3;
    /// The other side has answered; kept here only without translation, else see [`Nat::seen`].
    pub const REPLIED: u32 = 1 << 4;
    /// TCP: the inside has sent its last byte (FIN).
    pub const FIN_INSIDE: u32 = 1 << 5;
    /// TCP: the outside has sent its last byte (FIN).
    pub const FIN_OUTSIDE: u32 = 1 << 6;
    /// TCP: one of the two has torn it down (RST).
    pub const RESET: u32 = 1 << 7;
    /// TCP: whoever began it has acknowledged the answer, or it was there before us; an answer alone is no more than
    /// half a connection.
    pub const CONFIRMED: u32 = 1 << 8;
    /// The outside began it at a port of the node that is the pod's; comes with [`FlowFlags::INBOUND`] and
    /// [`FlowFlags::TRANSLATED`].
    pub const PORT: u32 = 1 << 9;
    /// TCP: it has come to an end on one side at least.
    pub const CLOSING: u32 = Self::FIN_INSIDE | Self::FIN_OUTSIDE | Self::RESET;
}

/// An address with a port: in `nat_full` whom no port was left towards, in `ports` what of the node is a pod's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The address.
    pub addr: Addr,
    /// The port in network byte order.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

const _: () = assert!(size_of::<Target>() == 20 && align_of::<Target>() == 4);
