//! Frames as a pod might send them, honest or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, Icmpv6Type, IpNumber, PacketBuilder};
use weft_cni::mac::Mac;

/// Link-layer source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Source MAC.
    pub src: Mac,
    /// Destination MAC.
    pub dst: Mac,
}

/// The MAC that everyone listens to.
pub const BROADCAST: Mac = Mac([0xff; 6]);

/// A UDP datagram in an IP packet in a frame.
pub fn udp(link: Link, src: IpAddr, dst: IpAddr, port: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(link.src.0, link.dst.0);
    let builder = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => builder.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => builder.ipv6(src.octets(), dst.octets(), 64),
        _ => bail!("{src} and {dst} are of different families"),
    };
    let builder = builder.udp(40_000, port);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload)?;
    Ok(frame)
}

/// An echo request.
pub fn echo(link: Link, src: IpAddr, dst: IpAddr) -> Result<Vec<u8>> {
    let header = etherparse::IcmpEchoHeader { id: 7, seq: 1 };
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(link.src.0, link.dst.0);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => builder
            .ipv4(src.octets(), dst.octets(), 64)
            .icmpv4(Icmpv4Type::EchoRequest(header))
            .write(&mut frame, &[])?,
        (IpAddr::V6(src), IpAddr::V6(dst)) => builder
            .ipv6(src.octets(), dst.octets(), 64)
            .icmpv6(Icmpv6Type::EchoRequest(header))
            .write(&mut frame, &[])?,
        _ => bail!("{src} and {dst} are of different families"),
    }
    Ok(frame)
}

/// An ARP message that says `sender` is at `sender_mac`. RFC 826.
pub fn arp(link: Link, reply: bool, sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Result<Vec<u8>> {
    let operation = if reply { ArpOperation::REPLY } else { ArpOperation::REQUEST };
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender_mac.0,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    )?;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(link.src.0, link.dst.0).arp(packet).write(&mut frame)?;
    Ok(frame)
}

/// A neighbour discovery message, hop limit 255. RFC 4861, section 4.
fn discovery(link: Link, src: Ipv6Addr, dst: Ipv6Addr, kind: u8, rest: [u8; 4], body: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(link.src.0, link.dst.0)
        .ipv6(src.octets(), dst.octets(), 255)
        .icmpv6_raw(kind, 0, rest)
        .write(&mut frame, body)?;
    Ok(frame)
}

/// A neighbour advertisement that says `target` is at `mac`.
pub fn neighbour_advert(link: Link, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Result<Vec<u8>> {
    let body = [&target.octets()[..], &[2, 1], &mac.0].concat();
    // Solicited, override.
    discovery(link, src, dst, 136, [0x60, 0, 0, 0], &body)
}

/// A neighbour solicitation for `target` from someone at `mac`.
pub fn neighbour_solicit(link: Link, src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Result<Vec<u8>> {
    let body = [&target.octets()[..], &[1, 1], &mac.0].concat();
    discovery(link, src, dst, 135, [0; 4], &body)
}

/// A router advertisement with a lifetime of half an hour.
pub fn router_advert(link: Link, src: Ipv6Addr, dst: Ipv6Addr) -> Result<Vec<u8>> {
    discovery(link, src, dst, 134, [64, 0, 0x07, 0x08], &[0; 8])
}

/// A packet of some protocol that no kernel module has to know.
pub fn protocol(link: Link, src: Ipv4Addr, dst: Ipv4Addr, number: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(link.src.0, link.dst.0).ipv4(src.octets(), dst.octets(), 64).write(
        &mut frame,
        IpNumber(number),
        payload,
    )?;
    Ok(frame)
}
