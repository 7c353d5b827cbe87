//! An interface that another plugin made keeps its link layer; its addresses are checked all the same.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use weft_abi::{GATEWAY_V4, GATEWAY_V6, Reason};
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::program::Action;
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene, udp};

fn everyone() -> Link {
    Link { dst: BROADCAST, ..SELF.link() }
}

#[test]
fn broadcast_and_multicast_pass() -> Result<()> {
    let mut scene = Scene::adopted()?;
    let own = SELF.link_local().into();
    let frames = [
        ("broadcast", craft::udp(everyone(), SELF.v4.into(), "255.255.255.255".parse()?, 9, b"")?),
        ("multicast", craft::udp(everyone(), SELF.v6.into(), "ff02::fb".parse()?, 9, b"")?),
        ("a frame for all", craft::udp(everyone(), SELF.v4.into(), OTHER.v4.into(), 9, b"")?),
        ("DHCP", craft::udp(everyone(), Ipv4Addr::UNSPECIFIED.into(), "255.255.255.255".parse()?, 67, b"")?),
        ("link-local multicast", craft::udp(everyone(), own, "ff02::1:2".parse()?, 547, b"")?),
    ];
    for (what, frame) in frames {
        scene.sends(frame.as_slice())?.must_pass(&frame).context(what)?;
    }
    Ok(())
}

#[test]
fn its_gateway_is_not_ours_to_answer_for() -> Result<()> {
    let mut scene = Scene::adopted()?;
    let arp = craft::arp(everyone(), false, SELF.link().src, SELF.v4, GATEWAY_V4.into())?;
    scene.sends(arp.as_slice())?.must_pass(&arp)?;
    let gateway = GATEWAY_V6.into();
    let solicit = craft::neighbour_solicit(everyone(), SELF.v6, gateway, gateway, SELF.link().src)?;
    scene.sends(solicit.as_slice())?.must_pass(&solicit)
}

#[test]
fn lies_are_dropped_all_the_same() -> Result<()> {
    let mut scene = Scene::adopted()?;
    let foreign = Link { src: FOREIGN, ..everyone() };
    let all = Ipv4Addr::BROADCAST.into();
    let lies = [
        (Reason::SourceAddr, udp(OTHER.v4.into(), AWAY.v4.into())?),
        (Reason::SourceAddr, craft::udp(everyone(), OTHER.v4.into(), all, 9, b"")?),
        (Reason::SourceAddr, udp(SELF.link_local().into(), OTHER.v6.into())?),
        (Reason::SourceMac, craft::udp(foreign, SELF.v4.into(), all, 9, b"")?),
        (Reason::SourceMac, craft::udp(foreign, Ipv4Addr::UNSPECIFIED.into(), all, 67, b"")?),
        (Reason::NeighSpoof, craft::arp(everyone(), true, SELF.link().src, OTHER.v4, OTHER.v4)?),
        (Reason::RogueRouter, craft::router_advert(everyone(), SELF.link_local(), "ff02::1".parse()?)?),
    ];
    for (reason, frame) in lies {
        scene.sends(frame)?.must_be(reason)?;
    }
    Ok(())
}

#[test]
fn pods_of_the_node_are_reached_past_its_bridge() -> Result<()> {
    let mut scene = Scene::adopted()?;
    for src in SELF.addresses() {
        let frame = udp(src, OTHER.like(src))?;
        let outcome = scene.sends(frame.as_slice())?;
        outcome.must_be(Reason::Delivered)?;
        assert_eq!(outcome.action, Action::Redirect);
        assert_eq!(outcome.bytes[..12], [OTHER.pod.pod_mac, OTHER.pod.host_mac].concat());
    }
    Ok(())
}

#[test]
fn whatever_its_bridge_floods_reaches_it() -> Result<()> {
    let mut scene = Scene::adopted()?;
    let all = Link { dst: BROADCAST, ..OTHER.link() };
    let mut lldp = craft::udp(all, AWAY.v4.into(), OTHER.v4.into(), 9, b"")?;
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    let frames = [
        craft::udp(all, OTHER.v4.into(), Ipv4Addr::BROADCAST.into(), 9, b"")?,
        craft::udp(OTHER.link(), OTHER.v6.into(), AWAY.v6.into(), 9, b"")?,
        craft::udp(all, OTHER.link_local().into(), "ff02::fb".parse()?, 9, b"")?,
        lldp,
    ];
    for frame in frames {
        scene.receives(frame.as_slice())?.must_pass(&frame)?;
    }
    Ok(())
}
