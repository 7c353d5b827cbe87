//! From one pod of the node into another, and on to the stack for everyone else.

use std::net::IpAddr;

use anyhow::Result;
use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};
use weft_abi::{GATEWAY_V4, Reason};
use weft_cni::mac::Mac;
use weft_tests::packet::craft::{self, Link};
use weft_tests::program::Action;
use weft_tests::program::Skb;
use weft_tests::program::scene::{AWAY, OTHER, SELF, Scene, udp};

/// What comes out when a packet is delivered: the other pod's Ethernet header, all else untouched.
fn delivered(frame: &[u8]) -> Vec<u8> {
    [&OTHER.pod.pod_mac[..], &OTHER.pod.host_mac, &frame[12..]].concat()
}

fn must_be_delivered(scene: &mut Scene, frame: &[u8]) -> Result<()> {
    let outcome = scene.sends(frame)?;
    outcome.must_be(Reason::Delivered)?;
    assert_eq!(outcome.action, Action::Redirect);
    assert_eq!(outcome.bytes, delivered(frame));
    Ok(())
}

#[test]
fn a_local_pod_gets_the_packet_as_it_is_behind_a_new_ethernet_header() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        must_be_delivered(&mut scene, &udp(src, OTHER.like(src))?)?;
        must_be_delivered(&mut scene, &craft::echo(SELF.link(), src, OTHER.like(src))?)?;
    }
    Ok(())
}

#[test]
fn the_frame_s_own_destination_mac_does_not_matter() -> Result<()> {
    let mut scene = Scene::set()?;
    for dst in [Mac([0; 6]), Mac(OTHER.pod.pod_mac), Mac([0x02, 0, 0, 0, 0, 0x99])] {
        let link = Link { dst, ..SELF.link() };
        must_be_delivered(&mut scene, &craft::udp(link, SELF.v4.into(), OTHER.v4.into(), 9, b"x")?)?;
    }
    Ok(())
}

#[test]
fn what_is_for_nobody_here_goes_to_the_stack_untouched() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let frame = udp(src, AWAY.like(src))?;
        scene.sends(frame.as_slice())?.must_pass(&frame)?;
    }
    let to_gateway = udp(SELF.v4.into(), IpAddr::from(GATEWAY_V4))?;
    scene.sends(to_gateway.as_slice())?.must_pass(&to_gateway)
}

#[test]
fn a_pod_reaches_itself() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let frame = udp(src, src)?;
        let outcome = scene.sends(frame.as_slice())?;
        outcome.must_be(Reason::Delivered)?;
        assert_eq!(outcome.bytes, [&SELF.pod.pod_mac[..], &SELF.pod.host_mac, &frame[12..]].concat());
    }
    Ok(())
}

#[test]
fn every_protocol_passes() -> Result<()> {
    let mut scene = Scene::set()?;
    // TCP, UDP, SCTP, ESP, GRE, and one that nobody knows.
    for number in [6, 17, 132, 50, 47, 253] {
        must_be_delivered(&mut scene, &craft::protocol(SELF.link(), SELF.v4, OTHER.v4, number, &[0; 24])?)?;
    }
    Ok(())
}

#[test]
fn fragments_and_options_pass() -> Result<()> {
    let mut scene = Scene::set()?;
    let mut header = Ipv4Header::new(64, 64, etherparse::IpNumber::UDP, SELF.v4.octets(), OTHER.v4.octets())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    header.more_fragments = true;
    header.fragment_offset = IpFragOffset::try_new(185)?;
    // Router alert.
    header.options = [148, 4, 0, 0].into();
    let mut frame = Vec::new();
    let ethernet = PacketBuilder::ethernet2(SELF.link().src.0, SELF.link().dst.0);
    ethernet.ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())).write(
        &mut frame,
        etherparse::IpNumber::UDP,
        &[7; 64],
    )?;
    assert_eq!(frame[14], 0x46);
    must_be_delivered(&mut scene, &frame)
}

#[test]
fn trailing_bytes_are_no_lie() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let mut frame = udp(src, OTHER.like(src))?;
        frame.extend([0; 18]);
        must_be_delivered(&mut scene, &frame)?;
    }
    Ok(())
}

#[test]
fn a_packet_too_large_for_its_length_field_passes_when_it_is_to_be_segmented() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let mut frame = craft::udp(SELF.link(), src, OTHER.like(src), 9, &[1; 3000])?;
        let length = if src.is_ipv4() { 16 } else { 18 };
        frame[length..length + 2].fill(0);
        if src.is_ipv6() {
            // Hop-by-hop options, as the kernel's BIG TCP writes them.
            frame[20] = 0;
        }
        let outcome = scene.sends(Skb::gso(frame.as_slice(), 1400))?;
        outcome.must_be(Reason::Delivered)?;
        assert_eq!(outcome.bytes, delivered(&frame));
        scene.sends(frame)?.must_be(Reason::Malformed)?;
    }
    Ok(())
}
