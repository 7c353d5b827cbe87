//! The packet that an ICMP error quotes (RFC 792; RFC 4443, section 2.4).

use weft_abi::{Addr, Tuple};

use super::ipv4::FRAGMENT_OFFSET;
use super::{Ipv4Header, Ipv6Header, Kind, Packet, Transport, ports_of};
use crate::skb::Skb;

/// Bytes of an ICMP error before the packet that it quotes.
const ERROR: u32 = 8;

/// What is quoted: as much of a packet as fits.
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
        let (inside, outside) = if source_inside { (self.src, self.dst) } else { (self.dst, self.src) };
        let (inside_port, outside_port) =
            if source_inside { (self.src_port, self.dst_port) } else { (self.dst_port, self.src_port) };
        Tuple { inside, outside, inside_port, outside_port, protocol: self.protocol, pad: [0; 3] }
    }
}

/// Reads the quoted packet; `None` if there is too little of it to tell its flow.
#[inline(always)]
pub(crate) fn quoted(skb: &Skb, packet: &Packet, error: &Transport) -> Option<Quoted> {
    let header = error.offset + ERROR;
    let (src, dst, protocol, transport) = if packet.v4 {
        let inner = skb.load::<Ipv4Header>(header as usize)?;
        if u16::from_be(inner.fragment) & FRAGMENT_OFFSET != 0 {
            return None;
        }
        let transport = header + u32::from(inner.version_ihl & 0x0f) * 4;
        (Addr::from_v4_word(inner.src), Addr::from_v4_word(inner.dst), inner.protocol, transport)
    } else {
        let inner = skb.load::<Ipv6Header>(header as usize)?;
        (inner.src, inner.dst, inner.next_header, header + size_of::<Ipv6Header>() as u32)
    };
    let [head, next] = skb.load::<[u32; 2]>(transport as usize)?;
    let (kind, src_port, dst_port) = ports_of(packet.v4, protocol, head, next as u16);
    // ICMP's type is in the first byte, its identifier behind the checksum.
    Some(Quoted { src, dst, src_port, dst_port, protocol, kind, header, transport })
}
