//! IPv6 packets (RFC 8200).

use weft_abi::{Addr, Reason};

use super::packet::{is_group, src_mac};
use super::{Ethernet, Packet, Protocol};
use crate::skb::Skb;

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv6Header {
    /// Version, traffic class and flow label; in network byte order like all that follows.
    pub(crate) version_flow: u32,
    pub(crate) payload_len: u16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
}

/// Bytes of the fixed header.
const HEADER: usize = size_of::<Ipv6Header>();
/// The Ethernet header and that.
const HEADERS: usize = Ethernet::LEN + HEADER;

const _: () = assert!(HEADER == 40);

/// Parses an IPv6 packet; its length is checked against the frame's.
#[inline(always)]
pub(crate) fn ipv6(skb: &mut Skb) -> Result<Packet, Reason> {
    let (room, gso) = (skb.len().wrapping_sub(Ethernet::LEN as u32), skb.is_gso());
    let frame = skb.bytes::<HEADERS>().ok_or(Reason::Malformed)?;
    let payload = u32::from(u16::from_be(frame.half::<{ Ethernet::LEN + 4 }>()));
    let next_header = frame.byte::<{ Ethernet::LEN + 6 }>();
    // A jumbogram's length is in an option; no veth carries one, except as something to be segmented (BIG TCP).
    let jumbogram = payload == 0 && next_header == Protocol::HOP_BY_HOP && !gso;
    if frame.byte::<{ Ethernet::LEN }>() >> 4 != 6 || payload + HEADER as u32 > room || jumbogram {
        return Err(Reason::Malformed);
    }
    let (src, dst) = (
        Addr::from_v6_words([
            frame.word::<{ Ethernet::LEN + 8 }>(),
            frame.word::<{ Ethernet::LEN + 12 }>(),
            frame.word::<{ Ethernet::LEN + 16 }>(),
            frame.word::<{ Ethernet::LEN + 20 }>(),
        ]),
        Addr::from_v6_words([
            frame.word::<{ Ethernet::LEN + 24 }>(),
            frame.word::<{ Ethernet::LEN + 28 }>(),
            frame.word::<{ Ethernet::LEN + 32 }>(),
            frame.word::<{ Ethernet::LEN + 36 }>(),
        ]),
    );
    if src.is_v4() || dst.is_v4() {
        return Err(Reason::MappedAddr);
    }
    Ok(Packet {
        src_mac: src_mac(&frame),
        src,
        dst,
        multicast: is_group(&frame) || dst.is_v6_multicast(),
        protocol: next_header,
        header: HEADER as u32,
        fragment: 0,
        hops: frame.byte::<{ Ethernet::LEN + 7 }>(),
        v4: false,
    })
}
