//! A pod speaks for itself.

use std::net::IpAddr;

use anyhow::{Context, Result};
use weft_abi::{Addr, Reason};
use weft_tests::packet::craft::{self, Link};
use weft_tests::program::IFINDEX;
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene, udp};

#[test]
fn another_s_address_is_no_source() -> Result<()> {
    let mut scene = Scene::set()?;
    for own in SELF.addresses() {
        for src in [OTHER.like(own), AWAY.like(own)] {
            for dst in [OTHER.like(own), AWAY.like(own), own] {
                scene.sends(udp(src, dst)?)?.must_be(Reason::SourceAddr).with_context(|| format!("{src} to {dst}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn addresses_of_no_host_are_no_source() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "169.254.7.7"] {
        let frame = udp(src.parse()?, OTHER.v4.into())?;
        scene.sends(frame)?.must_be(Reason::SourceAddr).context(src)?;
    }
    for src in ["::", "::1", "fe80::1", "fe80::aa", "ff02::1", "::10.244.0.1"] {
        let frame = udp(src.parse()?, OTHER.v6.into())?;
        scene.sends(frame)?.must_be(Reason::SourceAddr).context(src)?;
    }
    Ok(())
}

#[test]
fn the_key_of_an_interface_is_no_source() -> Result<()> {
    let mut scene = Scene::adopted()?;
    for key in [Addr::of_link(IFINDEX), Addr::of_link(0)] {
        scene.sends(udp(IpAddr::from(key), OTHER.v6.into())?)?.must_be(Reason::SourceAddr)?;
    }
    Ok(())
}

#[test]
fn another_mac_is_no_source() -> Result<()> {
    let mut scene = Scene::set()?;
    let own = SELF.link();
    let macs = (0..6).map(|byte| {
        let mut mac = own.src;
        // Not the bit that makes it a group's.
        mac.0[byte] ^= 0x40;
        mac
    });
    for mac in macs.chain([FOREIGN, OTHER.link().src, own.dst]) {
        for src in SELF.addresses() {
            let frame = craft::udp(Link { src: mac, ..own }, src, OTHER.like(src), 9, b"")?;
            let outcome = scene.sends(frame.as_slice())?;
            outcome.must_be(Reason::SourceMac)?;
            assert_eq!(outcome.bytes, frame);
        }
    }
    Ok(())
}
