//! Broadcast and multicast stay with their sender.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context, Result};
use weft_abi::Reason;
use weft_cni::mac::Mac;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::program::scene::{OTHER, SELF, Scene, udp};

const GROUP: Mac = Mac([0x33, 0x33, 0, 0, 0, 0xfb]);

#[test]
fn a_group_in_either_header_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for dst in ["224.0.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255", "ff02::1", "ff02::fb", "ff0e::1"] {
        let dst: IpAddr = dst.parse()?;
        let src = SELF.like(dst);
        for mac in [BROADCAST, GROUP, SELF.link().dst] {
            let frame = craft::udp(Link { dst: mac, ..SELF.link() }, src, dst, 5353, b"who")?;
            scene.sends(frame)?.must_be(Reason::Multicast).with_context(|| format!("to {dst} at {mac}"))?;
        }
    }
    for src in SELF.addresses() {
        for mac in [BROADCAST, GROUP, Mac([0x01, 0, 0x5e, 0, 0, 1]), Mac([0x03, 0, 0, 0, 0, 0])] {
            let frame = craft::udp(Link { dst: mac, ..SELF.link() }, src, OTHER.like(src), 9, b"all")?;
            scene.sends(frame)?.must_be(Reason::Multicast).with_context(|| format!("to a pod at {mac}"))?;
        }
    }
    Ok(())
}

#[test]
fn addresses_beside_the_groups_are_no_group() -> Result<()> {
    let mut scene = Scene::set()?;
    for dst in ["223.255.255.255", "240.0.0.1", "255.255.255.254", "fe00::1", "feff::1"] {
        let dst = dst.parse()?;
        let frame = udp(SELF.like(dst), dst)?;
        scene.sends(frame.as_slice())?.must_pass(&frame).with_context(|| format!("to {dst}"))?;
    }
    Ok(())
}

#[test]
fn a_pod_without_an_address_asks_in_vain() -> Result<()> {
    let mut scene = Scene::set()?;
    let everyone = Link { dst: BROADCAST, ..SELF.link() };
    // As DHCP does, in both families.
    let questions = [("0.0.0.0", "255.255.255.255"), ("fe80::aa", "ff02::1:2"), ("::", "ff02::1")];
    for (src, dst) in questions {
        let frame = craft::udp(everyone, src.parse()?, dst.parse()?, 67, b"address?")?;
        scene.sends(frame)?.must_be(Reason::Multicast).context(src)?;
    }
    Ok(())
}

/// A report of multicast groups behind a router alert (RFC 3810, section 5.2).
fn report(src: Ipv6Addr, dst: Ipv6Addr, kind: u8) -> Vec<u8> {
    let ethernet = [&GROUP.0[..], &SELF.pod.pod_mac, &[0x86, 0xdd]].concat();
    let ipv6 = [&[0x60, 0, 0, 0, 0, 36, 0, 1][..], &src.octets(), &dst.octets()].concat();
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0][..], &dst.octets()].concat();
    [&ethernet[..], &ipv6, &alert, &message].concat()
}

#[test]
fn reports_of_groups_end_at_the_node() -> Result<()> {
    let mut scene = Scene::set()?;
    let (all_routers, own) = ("ff02::16".parse()?, SELF.link_local());
    for kind in [131, 132, 143] {
        for src in [own, Ipv6Addr::UNSPECIFIED] {
            let frame = report(src, all_routers, kind);
            scene.sends(frame.as_slice())?.must_pass(&frame).with_context(|| format!("type {kind} from {src}"))?;
        }
    }
    // A query, a group beyond the link, a report without its alert, and one that is cut short.
    scene.sends(report(own, all_routers, 130))?.must_be(Reason::Multicast)?;
    scene.sends(report(own, "ff05::16".parse()?, 143))?.must_be(Reason::Multicast)?;
    let mut bare = report(own, all_routers, 143);
    bare[20] = 58;
    bare[54] = 143;
    scene.sends(bare)?.must_be(Reason::Multicast)?;
    let mut short = report(own, all_routers, 143);
    short.truncate(63);
    short[19] = 9;
    scene.sends(short)?.must_be(Reason::Multicast)?;
    scene.sends(report(OTHER.v6, all_routers, 143))?.must_be(Reason::SourceAddr)
}

#[test]
fn reports_of_the_node_are_no_drops() -> Result<()> {
    let mut scene = Scene::set()?;
    let all_routers = "ff02::16".parse()?;
    let frame = report(SELF.link_local(), all_routers, 143);
    scene.receives(frame.as_slice())?.must_pass(&frame)?;
    scene.receives(report(SELF.link_local(), all_routers, 130))?.must_be(Reason::Multicast)
}
