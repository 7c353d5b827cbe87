//! What the stages know of an IP packet, whatever its family.

use weft_abi::Addr;

use super::Ethernet;
use crate::skb::Bytes;

/// An IP packet: after the parser that made it, the family matters only to those who rewrite its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Source MAC, a word and a half word as they lie in memory.
    pub(crate) src_mac: (u32, u16),
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    /// Whether many receivers are meant, by MAC or by address.
    pub(crate) multicast: bool,
    /// Protocol, or the next header right behind the fixed IPv6 header.
    pub(crate) protocol: u8,
    /// Bytes of the IPv4 header, or of the fixed IPv6 header.
    pub(crate) header: u32,
    /// Of IPv4: the flag "more fragments" and the offset, in host byte order; else 0.
    pub(crate) fragment: u16,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// Whether it is IPv4.
    pub(crate) v4: bool,
}

impl Packet {
    /// Whether an ICMPv6 message follows right behind the fixed IPv6 header.
    #[inline(always)]
    pub(crate) fn is_icmpv6(&self) -> bool {
        !self.v4 && self.protocol == Protocol::ICMPV6
    }

    /// Where what follows the IPv4 header or the fixed IPv6 header begins in the frame.
    #[inline(always)]
    pub(crate) fn payload(&self) -> u32 {
        Ethernet::LEN as u32 + self.header
    }
}

/// IP protocols and IPv6 next headers.
pub(crate) struct Protocol;

impl Protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const DESTINATION: u8 = 60;
    pub(crate) const SCTP: u8 = 132;
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
