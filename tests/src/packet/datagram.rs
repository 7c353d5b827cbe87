//! Packets of flows: every part can be chosen, and what is left open is honest.

use std::net::{IpAddr, SocketAddr};

use weft_cni::mac::Mac;

use super::checksum;
use super::craft::Link;
use super::read::octets;

/// What a packet carries above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP with these flags.
    Tcp(u8),
    /// UDP.
    Udp,
    /// UDP without a checksum, which IPv4 alone allows.
    UdpUnsummed,
    /// An ICMP echo request; the source port is its identifier.
    EchoRequest,
    /// An ICMP echo reply; the destination port is its identifier.
    EchoReply,
    /// SCTP: ports, a tag and the checksum, and whatever behind them.
    Sctp,
}

impl Kind {
    /// One of each that can begin a flow.
    pub const BEGINNINGS: [Self; 5] = [Self::Tcp(SYN), Self::Udp, Self::UdpUnsummed, Self::EchoRequest, Self::Sctp];

    /// What answers it.
    #[must_use]
    pub fn answer(self) -> Self {
        match self {
            Self::Tcp(SYN) => Self::Tcp(SYN | ACK),
            Self::EchoRequest => Self::EchoReply,
            other => other,
        }
    }

    /// IP protocol number.
    pub fn protocol(self, v4: bool) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp | Self::UdpUnsummed => 17,
            Self::EchoRequest | Self::EchoReply if v4 => 1,
            Self::EchoRequest | Self::EchoReply => 58,
            Self::Sctp => 132,
        }
    }
}

/// TCP flags (RFC 9293).
pub const FIN: u8 = 1;
/// TCP: opens a connection.
pub const SYN: u8 = 2;
/// TCP: tears one down.
pub const RST: u8 = 4;
/// TCP: acknowledges.
pub const ACK: u8 = 16;

/// A piece of a datagram that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in bytes, a multiple of 8.
    pub offset: u16,
    /// Whether it is not the last one.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// A packet of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// MAC addresses.
    pub link: Link,
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// What it carries.
    pub kind: Kind,
    /// Payload above that.
    pub payload: Vec<u8>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4: a router alert option. IPv6: a hop-by-hop and a destination options header.
    pub options: bool,
}

impl Datagram {
    /// An honest packet.
    pub fn new(kind: Kind, src: SocketAddr, dst: SocketAddr) -> Self {
        let link = Link { src: Mac([0x02, 0, 0, 0, 0, 0x0a]), dst: Mac([0; 6]) };
        Self { link, src, dst, kind, payload: b"to be or not".to_vec(), ttl: 64, options: false }
    }

    /// The answer to it.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { src: self.dst, dst: self.src, kind: self.kind.answer(), ..self.clone() }
    }

    /// With these MAC addresses.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// With this payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// With this TTL.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With options, or extension headers.
    #[must_use]
    pub fn options(mut self) -> Self {
        self.options = true;
        self
    }

    /// From another source.
    #[must_use]
    pub fn from(&self, src: SocketAddr) -> Self {
        Self { src, ..self.clone() }
    }

    /// To another destination.
    #[must_use]
    pub fn to(&self, dst: SocketAddr) -> Self {
        Self { dst, ..self.clone() }
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        self.wrap(&self.packet(&self.transport(), None))
    }

    /// The IP packet.
    pub fn ip(&self) -> Vec<u8> {
        self.packet(&self.transport(), None)
    }

    /// The frame cut into pieces of at most this many bytes of transport data, a multiple of 8, the first one first.
    pub fn pieces(&self, size: usize, id: u32) -> Vec<Vec<u8>> {
        let transport = self.transport();
        let last = transport.len().saturating_sub(1) / size;
        let cut = transport.chunks(size).enumerate().map(|(number, part)| {
            let offset = u16::try_from(number * size).unwrap_or_default();
            self.wrap(&self.packet(part, Some(Piece { offset, more: number < last, id })))
        });
        cut.collect()
    }

    /// An ICMP error of this type and code from `router` to this packet's source that quotes it, up to `limit` bytes.
    pub fn error(&self, router: IpAddr, kind: u8, code: u8, info: u32, limit: usize) -> Vec<u8> {
        let mut quoted = self.ip();
        quoted.truncate(limit);
        let v4 = router.is_ipv4();
        let mut message = [&[kind, code, 0, 0][..], &info.to_be_bytes(), &quoted].concat();
        let sum = if v4 {
            checksum::of(&message)
        } else {
            checksum::with_pseudo_header(&octets(router), &octets(self.src.ip()), 58, &message)
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let outer = Self { src: SocketAddr::new(router, 0), dst: self.src, options: false, ..self.clone() };
        outer.wrap(&outer.header(if v4 { 1 } else { 58 }, &message, None))
    }

    fn v4(&self) -> bool {
        self.src.is_ipv4()
    }

    fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        let ethertype: [u8; 2] = if self.v4() { [8, 0] } else { [0x86, 0xdd] };
        [&self.link.dst.0[..], &self.link.src.0, &ethertype, packet].concat()
    }

    fn transport(&self) -> Vec<u8> {
        let ports = [self.src.port().to_be_bytes(), self.dst.port().to_be_bytes()].concat();
        let length = |header: usize| u16::try_from(header + self.payload.len()).unwrap_or(u16::MAX).to_be_bytes();
        let (mut bytes, sum_at) = match self.kind {
            Kind::Tcp(flags) => {
                let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
                ([&ports[..], &rest].concat(), Some(16))
            }
            Kind::Udp => ([&ports[..], &length(8), &[0, 0]].concat(), Some(6)),
            Kind::UdpUnsummed => ([&ports[..], &length(8), &[0, 0]].concat(), None),
            Kind::EchoRequest | Kind::EchoReply => {
                let request = self.kind == Kind::EchoRequest;
                let kind = match (self.v4(), request) {
                    (true, true) => 8,
                    (true, false) => 0,
                    (false, true) => 128,
                    (false, false) => 129,
                };
                let id = if request { self.src.port() } else { self.dst.port() };
                ([&[kind, 0, 0, 0][..], &id.to_be_bytes(), &[0, 1]].concat(), Some(2))
            }
            Kind::Sctp => ([&ports[..], &[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0]].concat(), None),
        };
        bytes.extend_from_slice(&self.payload);
        if self.kind == Kind::Sctp {
            let crc = checksum::crc32c(&bytes);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        if let Some(at) = sum_at {
            let (src, dst) = (octets(self.src.ip()), octets(self.dst.ip()));
            let sum = match self.kind {
                Kind::EchoRequest | Kind::EchoReply if self.v4() => checksum::of(&bytes),
                kind => checksum::with_pseudo_header(&src, &dst, kind.protocol(self.v4()), &bytes),
            };
            // A UDP sum of zero is sent as its other form: zero says that there is none.
            let sum = if sum == 0 && self.kind == Kind::Udp { u16::MAX } else { sum };
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    fn packet(&self, transport: &[u8], piece: Option<Piece>) -> Vec<u8> {
        self.header(self.kind.protocol(self.v4()), transport, piece)
    }

    fn header(&self, protocol: u8, body: &[u8], piece: Option<Piece>) -> Vec<u8> {
        if self.v4() { self.header_v4(protocol, body, piece) } else { self.header_v6(protocol, body, piece) }
    }

    fn header_v4(&self, protocol: u8, body: &[u8], piece: Option<Piece>) -> Vec<u8> {
        let options: &[u8] = if self.options { &[148, 4, 0, 0] } else { &[] };
        let length = u16::try_from(20 + options.len() + body.len()).unwrap_or(u16::MAX);
        let (id, cut) = piece.map_or((0x1234, 0x4000), |piece| {
            let [.., high, low] = piece.id.to_be_bytes();
            (u16::from_be_bytes([high, low]), (piece.offset / 8) | (u16::from(piece.more) << 13))
        });
        let words = if self.options { 0x46 } else { 0x45 };
        let mut header = [
            &[words, 0][..],
            &length.to_be_bytes(),
            &id.to_be_bytes(),
            &cut.to_be_bytes(),
            &[self.ttl, protocol, 0, 0],
            &octets(self.src.ip()),
            &octets(self.dst.ip()),
            options,
        ]
        .concat();
        let sum = checksum::of(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header[..], body].concat()
    }

    fn header_v6(&self, protocol: u8, body: &[u8], piece: Option<Piece>) -> Vec<u8> {
        // Each with one padding option of six bytes; destination options are no part of pieces.
        let padding = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
        let mut chain = Vec::new();
        let mut next = protocol;
        let mut headers: Vec<[u8; 8]> = Vec::new();
        if self.options && piece.is_none() {
            headers.push(padding(next));
            next = 60;
        }
        if let Some(piece) = piece {
            let cut = (piece.offset | u16::from(piece.more)).to_be_bytes();
            let id = piece.id.to_be_bytes();
            headers.push([next, 0, cut[0], cut[1], id[0], id[1], id[2], id[3]]);
            next = 44;
        }
        if self.options {
            headers.push(padding(next));
            next = 0;
        }
        for header in headers.iter().rev() {
            chain.extend_from_slice(header);
        }
        let length = u16::try_from(chain.len() + body.len()).unwrap_or(u16::MAX);
        [
            &[0x60, 0, 0, 0][..],
            &length.to_be_bytes(),
            &[next, self.ttl],
            &octets(self.src.ip()),
            &octets(self.dst.ip()),
            &chain,
            body,
        ]
        .concat()
    }
}
