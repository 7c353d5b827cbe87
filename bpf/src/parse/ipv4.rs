//! IPv4 packets (RFC 791).

use weft_abi::{Addr, Reason};

use super::packet::{is_group, src_mac};
use super::{Ethernet, Packet};
use crate::skb::Skb;

/// The header without options, in network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv4Header {
    pub(crate) version_ihl: u8,
    pub(crate) tos: u8,
    pub(crate) total: u16,
    pub(crate) id: u16,
    pub(crate) fragment: u16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: u16,
    pub(crate) src: u32,
    pub(crate) dst: u32,
}

/// Of the fragment field: "more fragments" and the offset.
pub(crate) const FRAGMENT: u16 = 0x3fff;
/// Of the fragment field: the offset.
pub(crate) const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Bytes of the header without options.
const HEADER: usize = size_of::<Ipv4Header>();
/// The Ethernet header and that.
const HEADERS: usize = Ethernet::LEN + HEADER;

/// Parses an IPv4 packet; its length is checked against the frame's.
#[inline(always)]
pub(crate) fn ipv4(skb: &mut Skb) -> Result<Packet, Reason> {
    let (room, gso) = (skb.len().wrapping_sub(Ethernet::LEN as u32), skb.is_gso());
    let frame = skb.bytes::<HEADERS>().ok_or(Reason::Malformed)?;
    let version_ihl = frame.byte::<{ Ethernet::LEN }>();
    let header = u32::from(version_ihl & 0x0f) * 4;
    let total = match u32::from(u16::from_be(frame.half::<{ Ethernet::LEN + 2 }>())) {
        // More than 64 KiB, to be segmented later: the length does not fit its field (BIG TCP).
        0 if gso => room,
        len => len,
    };
    if version_ihl >> 4 != 4 || header < HEADER as u32 || header > total || total > room {
        return Err(Reason::Malformed);
    }
    let (src, dst) = (frame.word::<{ Ethernet::LEN + 12 }>(), frame.word::<{ Ethernet::LEN + 16 }>());
    Ok(Packet {
        src_mac: src_mac(&frame),
        src: Addr::from_v4_word(src),
        dst: Addr::from_v4_word(dst),
        multicast: is_group(&frame) || u32::from_be(dst) >> 28 == 0xe || dst == u32::MAX,
        protocol: frame.byte::<{ Ethernet::LEN + 9 }>(),
        header,
        fragment: u16::from_be(frame.half::<{ Ethernet::LEN + 6 }>()) & FRAGMENT,
        hops: frame.byte::<{ Ethernet::LEN + 8 }>(),
        v4: true,
    })
}
