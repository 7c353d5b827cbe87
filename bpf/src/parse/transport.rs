//! What follows the IP header: ports, or what stands for them.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{ECHO, Reason, Tuple};

use super::ipv4::FRAGMENT_OFFSET;
use super::{Ethernet, Ipv4Header, Ipv6Header, Packet, Protocol};
use crate::maps::{self, Distant};
use crate::skb::{Checksum, Skb};

/// What can be told of a packet by its transport header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TCP or UDP: ports that can be rewritten.
    Ports,
    /// An ICMP echo or its answer: an identifier that can be rewritten.
    Echo,
    /// An ICMP error, which quotes the packet that it is about.
    Error,
    /// Ports that a checksum of another kind covers (SCTP), or none at all.
    Fixed,
}

/// How much of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Whole,
    /// The fragment that has the ports.
    First,
    /// A fragment without them.
    Later,
}

/// The transport header.
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    pub(crate) kind: Kind,
    pub(crate) piece: Piece,
    pub(crate) protocol: u8,
    /// Of TCP.
    pub(crate) flags: u8,
    /// Source port in network byte order, or what stands for it in a [`Tuple`].
    pub(crate) src: u16,
    /// Destination port, likewise.
    pub(crate) dst: u16,
    /// Where the header begins in the frame.
    pub(crate) offset: u32,
    /// Of a fragment: which datagram it is of, in memory order.
    pub(crate) id: u32,
}

/// Extension headers that are gone through at most; more are no honest packet's.
const EXTENSIONS_MAX: usize = 8;

/// ICMP and ICMPv6 types.
const ECHO_V4: [u8; 2] = [8, 0];
const ECHO_V6: [u8; 2] = [128, 129];
const ERRORS_V4: [u8; 3] = [3, 11, 12];
const LAST_ERROR_V6: u8 = 4;

impl Transport {
    /// TCP flags.
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const ACK: u8 = 0x10;

    /// Bytes of a TCP header without options.
    const TCP: u32 = 20;

    /// The flow of a packet whose source is inside.
    #[inline(always)]
    pub(crate) fn outbound(&self, packet: &Packet) -> Tuple {
        Tuple::between(self.protocol, (packet.src, self.src), (packet.dst, self.dst))
    }

    /// The flow of a packet whose destination is inside.
    #[inline(always)]
    pub(crate) fn inbound(&self, packet: &Packet) -> Tuple {
        Tuple::between(self.protocol, (packet.dst, self.dst), (packet.src, self.src))
    }

    /// The checksum that covers the ports, and with `pseudo` the addresses as well; none in a later fragment.
    #[inline(always)]
    pub(crate) fn checksum(&self, v4: bool, pseudo: bool) -> Option<Checksum> {
        if self.piece == Piece::Later {
            return None;
        }
        let (at, optional) = match self.protocol {
            Protocol::TCP => (16, false),
            Protocol::UDP => (6, v4),
            Protocol::ICMPV6 if !v4 => (2, false),
            Protocol::ICMP if v4 && !pseudo => (2, false),
            _ => return None,
        };
        Some(Checksum { offset: self.offset + at, optional })
    }

    /// Where the port of the source is in the frame, or with `source` false that of the destination; `None` if it
    /// cannot be rewritten.
    #[inline(always)]
    pub(crate) fn port_offset(&self, source: bool) -> Option<u32> {
        match self.kind {
            _ if self.piece == Piece::Later => None,
            Kind::Ports => Some(self.offset + if source { 0 } else { 2 }),
            Kind::Echo => Some(self.offset + 4),
            Kind::Error | Kind::Fixed => None,
        }
    }

    #[inline(always)]
    pub(super) fn new(v4: bool, protocol: u8, offset: u32, head: u32, id: u16) -> Self {
        let (kind, src, dst) = ports_of(v4, protocol, head, id);
        Self { kind, piece: Piece::Whole, protocol, flags: 0, src, dst, offset, id: 0 }
    }
}

/// What the first four bytes of a transport header and the two behind them say, all in memory order.
#[inline(always)]
pub(crate) fn ports_of(v4: bool, protocol: u8, head: u32, id: u16) -> (Kind, u16, u16) {
    let [kind, ..] = head.to_ne_bytes();
    let (src, dst) = (head as u16, (head >> 16) as u16);
    match protocol {
        Protocol::TCP | Protocol::UDP => (Kind::Ports, src, dst),
        Protocol::SCTP => (Kind::Fixed, src, dst),
        Protocol::ICMP if v4 => icmp(kind, id, ECHO_V4, ERRORS_V4.contains(&kind)),
        Protocol::ICMPV6 if !v4 => icmp(kind, id, ECHO_V6, kind != 0 && kind <= LAST_ERROR_V6),
        _ => (Kind::Fixed, 0, 0),
    }
}

#[inline(always)]
fn icmp(kind: u8, id: u16, [request, reply]: [u8; 2], error: bool) -> (Kind, u16, u16) {
    if kind == request {
        (Kind::Echo, id, ECHO)
    } else if kind == reply {
        (Kind::Echo, ECHO, id)
    } else if error {
        (Kind::Error, 0, 0)
    } else {
        (Kind::Fixed, 0, 0)
    }
}

/// Destination port, in network byte order, of a datagram right behind a header of the usual length.
#[inline(always)]
pub(crate) fn datagram_port(skb: &mut Skb, packet: &Packet) -> Option<u16> {
    if packet.protocol != Protocol::UDP || packet.fragment != 0 {
        return None;
    }
    match (packet.v4, packet.header) {
        (true, 20) => skb.bytes::<42>().map(|frame| frame.half::<36>()),
        (false, _) => skb.bytes::<62>().map(|frame| frame.half::<56>()),
        _ => None,
    }
}

/// Parses the transport header.
#[inline(always)]
pub(crate) fn transport(skb: &mut Skb, packet: &Packet) -> Result<Transport, Reason> {
    match (packet.v4, packet.header) {
        (true, 20) if packet.fragment == 0 => direct::<34, 42, 54>(skb, packet),
        (false, _) if !is_extension(packet.protocol) => direct::<54, 62, 74>(skb, packet),
        _ => {
            let distant = maps::distant().ok_or(Reason::Malformed)?;
            (distant.packet, distant.transport) =
                (*packet, Transport::new(packet.v4, packet.protocol, packet.payload(), 0, 0));
            if skb.call(read_distant) == 0 { Ok(distant.transport) } else { Err(Reason::Malformed) }
        }
    }
}

/// Right behind a header of the usual length: `AT` bytes into the frame, which must reach to `END`, for TCP to `TCP`.
#[inline(always)]
fn direct<const AT: usize, const END: usize, const TCP: usize>(
    skb: &mut Skb,
    packet: &Packet,
) -> Result<Transport, Reason> {
    if packet.protocol == Protocol::TCP {
        let frame = skb.bytes::<TCP>().ok_or(Reason::Malformed)?;
        let head = u32::from(frame.half_at(AT)) | u32::from(frame.half_at(AT + 2)) << 16;
        let flags = frame.byte_at(AT + 13);
        return Ok(Transport { flags, ..Transport::new(packet.v4, packet.protocol, AT as u32, head, 0) });
    }
    match skb.bytes::<END>() {
        Some(frame) => {
            let head = u32::from(frame.half_at(AT)) | u32::from(frame.half_at(AT + 2)) << 16;
            Ok(Transport::new(packet.v4, packet.protocol, AT as u32, head, frame.half_at(AT + 4)))
        }
        // A protocol without ports may be shorter.
        None => match Transport::new(packet.v4, packet.protocol, AT as u32, 0, 0) {
            transport if transport.kind == Kind::Fixed && transport.protocol != Protocol::SCTP => Ok(transport),
            _ => Err(Reason::Malformed),
        },
    }
}

/// Behind options or extension headers, or in a fragment; not 0 if it is not there.
///
/// Verified once and by itself (a global function to the kernel), because it is called from many states, and leaves many;
/// therefore it takes what it needs from a place of this processor's, and leaves it there.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_distant(ctx: *mut __sk_buff) -> u32 {
    let Some(Distant { packet, transport }) = maps::distant() else { return 1 };
    u32::from(read(&Skb::of(ctx), packet, transport).is_err())
}

#[inline(always)]
fn read(skb: &Skb, packet: &Packet, out: &mut Transport) -> Result<(), Reason> {
    if packet.v4 {
        if packet.fragment != 0 {
            let header = skb.load::<Ipv4Header>(Ethernet::LEN).ok_or(Reason::Malformed)?;
            out.id = header.id.into();
            out.piece = if packet.fragment & FRAGMENT_OFFSET == 0 { Piece::First } else { Piece::Later };
        }
    } else {
        skip_extensions(skb, out)?;
    }
    if out.piece == Piece::Later {
        let kind = match out.protocol {
            Protocol::TCP | Protocol::UDP => Kind::Ports,
            _ => Kind::Fixed,
        };
        out.kind = kind;
        return Ok(());
    }
    let at = out.offset as usize;
    let [head, next] = match skb.load::<[u32; 2]>(at) {
        Some(words) => words,
        None if !matches!(out.protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP) => return Ok(()),
        None => return Err(Reason::Malformed),
    };
    (out.kind, out.src, out.dst) = ports_of(packet.v4, out.protocol, head, next as u16);
    if out.protocol == Protocol::TCP {
        out.flags = skb.load::<u8>(at + 13).ok_or(Reason::Malformed)?;
        if out.piece == Piece::Whole && skb.len() < out.offset + Transport::TCP {
            return Err(Reason::Malformed);
        }
    }
    Ok(())
}

/// Goes through extension headers (RFC 8200, section 4) up to one that is none.
#[inline(always)]
fn skip_extensions(skb: &Skb, out: &mut Transport) -> Result<(), Reason> {
    out.offset = (Ethernet::LEN + size_of::<Ipv6Header>()) as u32;
    for _ in 0..EXTENSIONS_MAX {
        // Behind the header of a later fragment comes payload.
        if !is_extension(out.protocol) || out.piece == Piece::Later {
            return Ok(());
        }
        skip_extension(skb, out).ok_or(Reason::Malformed)?;
    }
    Err(Reason::Malformed)
}

/// Goes past one extension header.
#[inline(always)]
pub(super) fn skip_extension(skb: &Skb, out: &mut Transport) -> Option<()> {
    let [next, len, c, d, id @ ..] = skb.load::<[u8; 8]>(out.offset as usize)?;
    if out.protocol == Protocol::FRAGMENT {
        let field = u16::from_be_bytes([c, d]);
        out.id = u32::from_ne_bytes(id);
        out.piece = match (field >> 3, field & 1) {
            (0, 0) => Piece::Whole,
            (0, _) => Piece::First,
            _ => Piece::Later,
        };
        out.offset += 8;
    } else {
        out.offset += u32::from(len) * 8 + 8;
    }
    out.protocol = next;
    Some(())
}

#[inline(always)]
pub(super) fn is_extension(next_header: u8) -> bool {
    matches!(next_header, Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::FRAGMENT | Protocol::DESTINATION)
}
