//! How large a packet is on the wire.

use crate::parse::{Ethernet, Packet, Protocol};
use crate::skb::Skb;

/// Bytes of a TCP header's first word with its length, from the header's begin.
const TCP_LENGTH: u32 = 12;

/// Bytes that the largest packet on the wire will have, from its IP header on.
#[inline(always)]
pub(super) fn segment(skb: &Skb, packet: &Packet) -> u32 {
    let gso = skb.gso_size();
    if gso == 0 { skb.len() - Ethernet::LEN as u32 } else { gso + headers(skb, packet) }
}

/// Bytes of all packets that it is on the wire, from their IP headers on.
#[inline(always)]
pub(super) fn wire(skb: &Skb, packet: &Packet) -> u64 {
    let bytes = u64::from(skb.len() - Ethernet::LEN as u32);
    match skb.gso_segs() {
        0 | 1 => bytes,
        segments => bytes + u64::from(segments - 1) * u64::from(headers(skb, packet)),
    }
}

/// Bytes of the headers that every segment gets.
#[inline(always)]
fn headers(skb: &Skb, packet: &Packet) -> u32 {
    let transport = match packet.protocol {
        Protocol::TCP => {
            let length = skb.load::<u8>((packet.payload() + TCP_LENGTH) as usize).unwrap_or_default();
            u32::from(length >> 4) * 4
        }
        Protocol::UDP => 8,
        _ => 0,
    };
    packet.header + transport
}
