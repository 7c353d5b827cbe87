//! Packets as devices carry them: in page fragments, too short, very long.

use std::net::IpAddr;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use weft_abi::{Pod, Reason};
use weft_tests::packet::craft;
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::wire::{Shape, Wire};

fn wire(name: &str) -> Result<Wire> {
    let mut wire = Wire::lay(name, &SELF.pod)?;
    let own = Pod { ifindex: wire.ifindex, ..SELF.pod };
    for (addr, pod) in
        SELF.addresses().map(|addr| (addr, own)).into_iter().chain(OTHER.addresses().map(|addr| (addr, OTHER.pod)))
    {
        wire.programs.add(addr, pod)?;
    }
    Ok(wire)
}

#[test]
fn headers_in_page_fragments_are_read_all_the_same() -> Result<()> {
    let mut wire = wire("weft-bpf-a")?;
    for src in SELF.addresses() {
        let frame = craft::udp(SELF.link(), src, OTHER.like(src), 9, &[1; 6000])?;
        for linear in [14, 20, 33, 34, 53, 54, 60] {
            let (reason, count) = wire.send(&frame, Shape { linear, ..Shape::default() })?;
            assert_eq!(reason, Reason::Delivered, "{linear} linear bytes from {src}");
            assert_eq!(count.bytes, u64::try_from(frame.len())?);
        }
    }
    let lie = craft::udp(SELF.link(), OTHER.v6.into(), OTHER.v6.into(), 9, &[1; 6000])?;
    assert_eq!(wire.send(&lie, Shape { linear: 14, ..Shape::default() })?.0, Reason::SourceAddr);
    Ok(())
}

#[test]
fn a_header_that_is_cut_short_is_dropped() -> Result<()> {
    let mut wire = wire("weft-bpf-b")?;
    for src in SELF.addresses() {
        let frame = craft::udp(SELF.link(), src, OTHER.like(src), 9, b"")?;
        let headers = if src.is_ipv4() { 34 } else { 54 };
        for len in 15..headers {
            for linear in [14, u16::try_from(len)?] {
                let (reason, _) = wire.send(&frame[..len], Shape { linear, ..Shape::default() })?;
                assert_eq!(reason, Reason::Malformed, "{len} bytes, {linear} linear, from {src}");
            }
        }
    }
    Ok(())
}

/// `VIRTIO_NET_HDR_GSO_TCPV4` and `_TCPV6`.
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;

fn tcp(src: IpAddr, dst: IpAddr, payload: &[u8]) -> Result<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(SELF.link().src.0, SELF.link().dst.0);
    let ip = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => anyhow::bail!("{src} and {dst} are of different families"),
    };
    let mut frame = Vec::new();
    ip.tcp(40_000, 80, 1, 65_000).write(&mut frame, payload)?;
    Ok(frame)
}

#[test]
fn a_packet_of_64_kib_that_is_to_be_segmented_is_one_packet() -> Result<()> {
    let mut wire = wire("weft-bpf-c")?;
    for src in SELF.addresses() {
        let frame = tcp(src, OTHER.like(src), &vec![7; 65_000])?;
        let gso_type = if src.is_ipv4() { TCP_V4 } else { TCP_V6 };
        for linear in [14, 128] {
            let shape = Shape { linear, gso_type, gso_size: 1400 };
            let (reason, count) = wire.send(&frame, shape).with_context(|| format!("from {src}"))?;
            assert_eq!((reason, count.packets), (Reason::Delivered, 1));
            assert_eq!(count.bytes, u64::try_from(frame.len())?);
        }
    }
    Ok(())
}
