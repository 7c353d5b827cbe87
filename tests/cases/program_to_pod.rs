//! What the node sends to a pod.

use std::net::Ipv6Addr;

use anyhow::{Context, Result};
use weft_abi::Reason;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::program::scene::{AWAY, OTHER, SELF, Scene};

#[test]
fn what_is_for_the_pod_goes_through_untouched() -> Result<()> {
    let mut scene = Scene::set()?;
    for dst in SELF.addresses() {
        // Whoever sent it: the node routes for the world.
        for src in [AWAY.like(dst), OTHER.like(dst)] {
            let frame = craft::udp(SELF.link_back(), src, dst, 9, b"for you")?;
            scene.receives(frame.as_slice())?.must_pass(&frame)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_for_somebody_else_does_not() -> Result<()> {
    let mut scene = Scene::set()?;
    for own in SELF.addresses() {
        for dst in [OTHER.like(own), AWAY.like(own)] {
            let frame = craft::udp(SELF.link_back(), AWAY.like(own), dst, 9, b"not for you")?;
            scene.receives(frame)?.must_be(Reason::NotForPod).with_context(|| format!("to {dst}"))?;
        }
    }
    Ok(())
}

#[test]
fn what_is_for_many_does_not() -> Result<()> {
    let mut scene = Scene::set()?;
    let back = SELF.link_back();
    let everyone = Link { dst: BROADCAST, ..back };
    let frames = [
        craft::udp(everyone, AWAY.v4.into(), SELF.v4.into(), 9, b"")?,
        craft::udp(back, AWAY.v4.into(), "224.0.0.251".parse()?, 9, b"")?,
        craft::udp(back, AWAY.v6.into(), "ff02::fb".parse()?, 9, b"")?,
    ];
    frames.iter().try_for_each(|frame| scene.receives(frame.as_slice())?.must_be(Reason::Multicast))
}

#[test]
fn neighbours_may_be_resolved() -> Result<()> {
    let mut scene = Scene::set()?;
    let back = SELF.link_back();
    let everyone = Link { dst: BROADCAST, ..back };
    let local: Ipv6Addr = "fe80::2".parse()?;
    let frames = [
        craft::arp(everyone, false, back.src, AWAY.v4, SELF.v4)?,
        craft::arp(back, true, back.src, AWAY.v4, SELF.v4)?,
        craft::neighbour_solicit(everyone, local, "ff02::1:ff00:1".parse()?, SELF.v6, back.src)?,
        craft::neighbour_advert(back, local, SELF.link_local(), local, back.src)?,
        craft::router_advert(everyone, local, "ff02::1".parse()?)?,
    ];
    for frame in frames {
        scene.receives(frame.as_slice())?.must_pass(&frame)?;
    }
    Ok(())
}

#[test]
fn a_length_beyond_the_packet_does_not_go_through() -> Result<()> {
    let mut scene = Scene::set()?;
    for dst in SELF.addresses() {
        let mut frame = craft::udp(SELF.link_back(), AWAY.like(dst), dst, 9, b"cut")?;
        frame.pop();
        scene.receives(frame)?.must_be(Reason::Malformed)?;
    }
    Ok(())
}
