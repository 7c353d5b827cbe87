//! ARP from a pod.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use weft_abi::{GATEWAY_V4, Reason};
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::program::Action;
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(GATEWAY_V4[0], GATEWAY_V4[1], GATEWAY_V4[2], GATEWAY_V4[3]);

fn everyone() -> Link {
    Link { dst: BROADCAST, ..SELF.link() }
}

#[test]
fn a_question_for_the_gateway_is_answered() -> Result<()> {
    let mut scene = Scene::set()?;
    let (pod, host) = (&SELF.pod.pod_mac[..], &SELF.pod.host_mac[..]);
    let answer = [pod, host, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], host, &GATEWAY_V4, pod, &SELF.v4.octets()].concat();
    for link in [everyone(), SELF.link()] {
        let mut question = craft::arp(link, false, link.src, SELF.v4, GATEWAY)?;
        for padding in [0, 18] {
            question.extend(vec![0; padding]);
            let outcome = scene.sends(question.as_slice())?;
            outcome.must_be(Reason::Answered)?;
            assert_eq!(outcome.action, Action::Redirect);
            assert_eq!(outcome.bytes, answer);
        }
    }
    // It leaves by the same device, past the other hook.
    scene.receives(answer.as_slice())?.must_pass(&answer)
}

#[test]
fn the_truth_about_itself_goes_to_the_stack() -> Result<()> {
    let mut scene = Scene::set()?;
    let (link, mac) = (everyone(), SELF.link().src);
    let truths = [
        ("question", craft::arp(link, false, mac, SELF.v4, AWAY.v4)?),
        ("question for another pod", craft::arp(link, false, mac, SELF.v4, OTHER.v4)?),
        ("announcement", craft::arp(link, false, mac, SELF.v4, SELF.v4)?),
        ("reply", craft::arp(SELF.link(), true, mac, SELF.v4, AWAY.v4)?),
        ("reply to the gateway", craft::arp(SELF.link(), true, mac, SELF.v4, GATEWAY)?),
        ("probe", craft::arp(link, false, mac, Ipv4Addr::UNSPECIFIED, SELF.v4)?),
    ];
    for (truth, frame) in truths {
        scene.sends(frame.as_slice())?.must_pass(&frame).context(truth)?;
    }
    Ok(())
}

#[test]
fn a_lie_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let (link, mac) = (everyone(), SELF.link().src);
    let foreign = Link { src: FOREIGN, ..link };
    let lies = [
        ("question by another", craft::arp(link, false, mac, OTHER.v4, GATEWAY)?),
        ("announcement of another", craft::arp(link, false, mac, OTHER.v4, OTHER.v4)?),
        ("reply for another", craft::arp(link, true, mac, OTHER.v4, AWAY.v4)?),
        ("reply for an address of nobody", craft::arp(link, true, mac, AWAY.v4, SELF.v4)?),
        ("reply for the gateway", craft::arp(link, true, mac, GATEWAY, SELF.v4)?),
        ("another MAC in the message", craft::arp(link, false, FOREIGN, SELF.v4, GATEWAY)?),
        ("another MAC on the frame", craft::arp(foreign, false, mac, SELF.v4, GATEWAY)?),
        ("another MAC in both", craft::arp(foreign, false, FOREIGN, SELF.v4, GATEWAY)?),
        ("probe for another", craft::arp(link, false, mac, Ipv4Addr::UNSPECIFIED, OTHER.v4)?),
        ("probe for the gateway", craft::arp(link, false, mac, Ipv4Addr::UNSPECIFIED, GATEWAY)?),
        ("probe with another MAC", craft::arp(foreign, false, FOREIGN, Ipv4Addr::UNSPECIFIED, SELF.v4)?),
    ];
    for (lie, frame) in lies {
        let outcome = scene.sends(frame.as_slice())?;
        outcome.must_be(Reason::NeighSpoof).context(lie)?;
        assert_eq!(outcome.bytes, frame);
    }
    Ok(())
}

#[test]
fn a_message_of_another_kind_or_cut_short_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = craft::arp(everyone(), false, SELF.link().src, SELF.v4, GATEWAY)?;
    for len in 14..42 {
        scene.sends(&frame[..len])?.must_be(Reason::Malformed).with_context(|| format!("{len} bytes"))?;
    }
    for at in 14..20 {
        let mut other = frame.clone();
        other[at] ^= 0x10;
        scene.sends(other)?.must_be(Reason::Malformed).with_context(|| format!("byte {at}"))?;
    }
    Ok(())
}
