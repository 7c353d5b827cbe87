//! What the stages know of an IP packet, whatever its family.

use weft_abi::Addr;

use crate::skb::Bytes;

/// An IP packet: only the parser that made it knows its family.
pub(crate) struct Packet {
    /// Source MAC, a word and a half word as they lie in memory.
    pub(crate) src_mac: (u32, u16),
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    /// Whether many receivers are meant, by MAC or by address.
    pub(crate) multicast: bool,
    /// Whether an ICMPv6 message follows right behind the fixed IPv6 header.
    pub(crate) icmpv6: bool,
}

/// The source MAC of a frame.
#[inline(always)]
pub(super) fn src_mac<const N: usize>(frame: &Bytes<'_, N>) -> (u32, u16) {
    (frame.word::<6>(), frame.half::<10>())
}

/// Whether the frame is for many receivers, all of them included.
#[inline(always)]
pub(super) fn is_group<const N: usize>(frame: &Bytes<'_, N>) -> bool {
    frame.byte::<0>() & 1 != 0
}
