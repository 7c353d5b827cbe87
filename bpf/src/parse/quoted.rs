//! The packet that an ICMP error quotes (RFC 792; RFC 4443, section 2.4).

use weft_abi::{Addr, Tuple};

use super::ipv4::FRAGMENT_OFFSET;
use super::transport::{is_extension, skip_extension};
use super::{Ipv4Header, Ipv6Header, Kind, Packet, Piece, Transport, ports_of};
use crate::skb::Skb;

/// Bytes of an ICMP error before the packet that it quotes.
const ERROR: u32 = 8;

/// Extension headers that are gone through at most: that of a fragment, and three more.
const EXTENSIONS_MAX: usize = 4;

/// What is quoted: as much of a packet as fits.
#[derive(Clone, Copy)]
pub(crate) struct Quoted {
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) protocol: u8,
    pub(crate) kind: Kind,
    /// Where its IP header begins in the frame.
    pub(crate) header: u32,
    /// Where its transport header begins in the frame.
    pub(crate) transport: u32,
}

impl Quoted {
    /// The flow of the quoted packet if its source was inside, else if its destination was.
    #[inline(always)]
    pub(crate) fn tuple(&self, source_inside: bool) -> Tuple {
        let (src, dst) = ((self.src, self.src_port), (self.dst, self.dst_port));
        let (inside, outside) = if source_inside { (src, dst) } else { (dst, src) };
        Tuple::between(self.protocol, inside, outside)
    }
}

/// Reads the quoted packet; `None` if there is too little of it to tell its flow.
#[inline(always)]
pub(crate) fn quoted(skb: &Skb, packet: &Packet, error: &Transport) -> Option<Quoted> {
    let header = error.offset + ERROR;
    let (src, dst, inner) = if packet.v4 { v4(skb, header)? } else { v6(skb, header)? };
    let [head, next] = skb.load::<[u32; 2]>(inner.offset as usize)?;
    // ICMP's type is in the first byte, its identifier behind the checksum.
    let (kind, src_port, dst_port) = ports_of(packet.v4, inner.protocol, head, next as u16);
    Some(Quoted { src, dst, src_port, dst_port, protocol: inner.protocol, kind, header, transport: inner.offset })
}

#[inline(always)]
fn v4(skb: &Skb, header: u32) -> Option<(Addr, Addr, Transport)> {
    let Ipv4Header { version_ihl, fragment, protocol, src, dst, .. } = skb.load(header as usize)?;
    let transport = Transport::new(true, protocol, header + u32::from(version_ihl & 0x0f) * 4, 0, 0);
    let first = u16::from_be(fragment) & FRAGMENT_OFFSET == 0;
    first.then_some((Addr::from_v4_word(src), Addr::from_v4_word(dst), transport))
}

#[inline(always)]
fn v6(skb: &Skb, header: u32) -> Option<(Addr, Addr, Transport)> {
    let Ipv6Header { next_header, src, dst, .. } = skb.load(header as usize)?;
    let mut transport = Transport::new(false, next_header, header + size_of::<Ipv6Header>() as u32, 0, 0);
    for _ in 0..EXTENSIONS_MAX {
        if !is_extension(transport.protocol) {
            break;
        }
        skip_extension(skb, &mut transport)?;
    }
    (transport.piece != Piece::Later).then_some((src, dst, transport))
}
