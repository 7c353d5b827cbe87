//! Frames read back: addresses, ports, and where each layer lies.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

/// The protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of either family.
    Icmp,
    /// SCTP.
    Sctp,
    /// Any other, by number.
    Other(u8),
}

/// What is where in a frame; places are offsets from its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    /// Whether it is IPv4, else IPv6.
    pub v4: bool,
    /// Begin of the IP header.
    pub network: usize,
    /// End of the IP header, IPv4 options included.
    pub network_end: usize,
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The protocol above IP and its extension headers.
    pub transport: Transport,
    /// Begin of what that protocol carries.
    pub transport_at: usize,
    /// End of the packet.
    pub end: usize,
    /// Offset of a fragment in bytes.
    pub fragment: usize,
    /// Whether more fragments follow.
    pub more_fragments: bool,
    /// Begin of the packet that an ICMP error quotes.
    pub quoted: Option<usize>,
}

impl Layers {
    /// Whether it is a fragment without the transport header.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment > 0
    }

    /// Source and destination ports of TCP, UDP and SCTP; of an ICMP echo its identifier twice.
    pub fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let half = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        match self.transport {
            _ if self.is_later_fragment() => None,
            Transport::Icmp => half(self.transport_at + 4).map(|id| (id, id)),
            Transport::Other(_) => None,
            Transport::Tcp | Transport::Udp | Transport::Sctp => {
                Some((half(self.transport_at)?, half(self.transport_at + 2)?))
            }
        }
    }

    /// Source with port, 0 where there is none.
    pub fn source(&self, frame: &[u8]) -> SocketAddr {
        SocketAddr::new(self.src, self.ports(frame).map_or(0, |ports| ports.0))
    }

    /// Destination with port, 0 where there is none.
    pub fn destination(&self, frame: &[u8]) -> SocketAddr {
        SocketAddr::new(self.dst, self.ports(frame).map_or(0, |ports| ports.1))
    }
}

/// The layers of an Ethernet frame with an IP packet.
pub fn layers(frame: &[u8]) -> Result<Layers> {
    ensure!(frame.len() >= 14, "a frame of {} bytes", frame.len());
    let moved = |at: usize| at + 14;
    let inner = packet(&frame[14..])?;
    ensure!(frame[12..14] == if inner.v4 { [8, 0] } else { [0x86, 0xdd] }, "the ethertype is of another family");
    Ok(Layers {
        network: moved(inner.network),
        network_end: moved(inner.network_end),
        transport_at: moved(inner.transport_at),
        end: moved(inner.end),
        quoted: inner.quoted.map(moved),
        ..inner
    })
}

/// The layers of an IP packet, which may be cut short behind its headers.
pub fn packet(bytes: &[u8]) -> Result<Layers> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => v4(bytes),
        Some(6) => v6(bytes),
        version => bail!("IP version {version:?}"),
    }
}

fn v4(bytes: &[u8]) -> Result<Layers> {
    let header = usize::from(bytes[0] & 0xf) * 4;
    ensure!(header >= 20 && bytes.len() >= header, "an IPv4 header of {header} in {} bytes", bytes.len());
    let address = |at: usize| -> Result<IpAddr> { Ok(<[u8; 4]>::try_from(&bytes[at..at + 4])?.into()) };
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let fragment = u16::from_be_bytes([bytes[6], bytes[7]]);
    let transport = transport(bytes[9]);
    let fragment_at = usize::from(fragment & 0x1fff) * 8;
    Ok(Layers {
        v4: true,
        network: 0,
        network_end: header,
        src: address(12)?,
        dst: address(16)?,
        ttl: bytes[8],
        transport,
        transport_at: header,
        end: length.min(bytes.len()),
        fragment: fragment_at,
        more_fragments: fragment & 0x2000 != 0,
        quoted: quoted(bytes, transport, header, &[3, 4, 5, 11, 12], fragment_at),
    })
}

fn v6(bytes: &[u8]) -> Result<Layers> {
    ensure!(bytes.len() >= 40, "an IPv6 header in {} bytes", bytes.len());
    let address = |at: usize| -> Result<IpAddr> { Ok(<[u8; 16]>::try_from(&bytes[at..at + 16])?.into()) };
    let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let (mut next, mut at, mut fragment, mut more_fragments) = (bytes[6], 40, 0, false);
    while matches!(next, 0 | 43 | 44 | 60) && fragment == 0 {
        let header = bytes.get(at..at + 8).context("an extension header is cut short")?;
        let size = if next == 44 { 8 } else { 8 + usize::from(header[1]) * 8 };
        if next == 44 {
            let word = u16::from_be_bytes([header[2], header[3]]);
            (fragment, more_fragments) = (usize::from(word & 0xfff8), word & 1 != 0);
        }
        (next, at) = (header[0], at + size);
    }
    let transport = transport(next);
    Ok(Layers {
        v4: false,
        network: 0,
        network_end: 40,
        src: address(8)?,
        dst: address(24)?,
        ttl: bytes[7],
        transport,
        transport_at: at,
        end: (40 + length).min(bytes.len()),
        fragment,
        more_fragments,
        quoted: quoted(bytes, transport, at, &[1, 2, 3, 4], fragment),
    })
}

fn quoted(bytes: &[u8], transport: Transport, at: usize, errors: &[u8], fragment: usize) -> Option<usize> {
    let kind = bytes.get(at)?;
    let is_error = transport == Transport::Icmp && fragment == 0 && errors.contains(kind);
    (is_error && bytes.len() > at + 8).then_some(at + 8)
}

fn transport(protocol: u8) -> Transport {
    match protocol {
        1 | 58 => Transport::Icmp,
        6 => Transport::Tcp,
        17 => Transport::Udp,
        132 => Transport::Sctp,
        other => Transport::Other(other),
    }
}

/// An address's bytes.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A packet of a tunnel: RFC 7348.
#[derive(Clone, Debug)]
pub struct Tunnelled {
    /// Source and destination of the outer packet.
    pub outer: (IpAddr, IpAddr),
    /// Number of the virtual network.
    pub vni: u32,
    /// The inner frame.
    pub inner: Vec<u8>,
}

/// What a VXLAN packet to this UDP port carries; `None` for any other frame.
pub fn tunnelled(frame: &[u8], port: u16) -> Option<Tunnelled> {
    let outer = layers(frame).ok()?;
    if outer.transport != Transport::Udp || outer.ports(frame)?.1 != port {
        return None;
    }
    let header = outer.transport_at + 8;
    let number = frame.get(header + 4..header + 7)?;
    Some(Tunnelled {
        outer: (outer.src, outer.dst),
        vni: u32::from_be_bytes([0, number[0], number[1], number[2]]),
        inner: frame.get(header + 8..)?.to_vec(),
    })
}

/// Whether a frame is an IP packet between these two.
pub fn is_between(frame: &[u8], src: IpAddr, dst: IpAddr) -> bool {
    layers(frame).is_ok_and(|layers| layers.src == src && layers.dst == dst)
}

/// Every IP address in a frame's headers, those of a tunnelled packet too.
pub fn addresses(frame: &[u8], tunnel_port: u16) -> Vec<IpAddr> {
    let own = |frame: &[u8]| layers(frame).map(|layers| vec![layers.src, layers.dst]).unwrap_or_default();
    let inner = tunnelled(frame, tunnel_port).map(|tunnelled| own(&tunnelled.inner)).unwrap_or_default();
    [own(frame), inner].concat()
}
