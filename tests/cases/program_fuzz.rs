//! Bytes that nobody meant: each gets a verdict, whatever they are.

use anyhow::{Result, ensure};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use weft_abi::{Direction, NodeState, Reason, Token};
use weft_tests::node::Family;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::program::scene::{OTHER, SELF, udp};
use weft_tests::program::underlay::{self, Underlay};
use weft_tests::program::{Action, Hook, IFINDEX, Skb};

/// Packets a property.
const CASES: u32 = 3000;

/// The kernel refuses a test run on IPv6 without a whole header.
const HEADERS: usize = 54;

/// Honest frames to damage.
fn seeds() -> Result<Vec<Vec<u8>>> {
    let (link, everyone) = (SELF.link(), Link { dst: BROADCAST, ..SELF.link() });
    let gateway = weft_abi::GATEWAY_V6.into();
    let mut seeds = vec![
        udp(SELF.v4.into(), OTHER.v4.into())?,
        udp(SELF.v6.into(), OTHER.v6.into())?,
        craft::arp(everyone, false, link.src, SELF.v4, weft_abi::GATEWAY_V4.into())?,
        craft::neighbour_solicit(everyone, SELF.v6, gateway, gateway, link.src)?,
        craft::router_advert(link, SELF.v6, OTHER.v6)?,
    ];
    for family in Family::BOTH {
        let (pod, node, world) = (underlay::pod(family), underlay::node(family), underlay::world(family));
        let (remote, router) = (underlay::remote(family), underlay::router(family));
        let (kind, code) = if family == Family::V4 { (3, 4) } else { (2, 0) };
        for protocol in [Kind::Tcp(SYN), Kind::Udp, Kind::EchoRequest, Kind::Sctp] {
            for (src, dst) in [(pod, world), (pod, remote), (world, node), (remote, pod)] {
                let packet = Datagram::new(protocol, (src, 40_000).into(), (dst, 443).into()).link(link);
                seeds.push(packet.error(router, kind, code, 1400, 80));
                seeds.extend(packet.clone().payload(&[7; 48]).pieces(24, 5));
                seeds.push(packet.clone().options().frame());
                seeds.push(packet.frame());
            }
        }
    }
    Ok(seeds)
}

/// A frame of any bytes, with an ethertype that the programs parse more often than not.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let ethertype = prop_oneof![[any::<u8>(), any::<u8>()], Just([8, 0]), Just([8, 6]), Just([0x86, 0xdd])];
    (vec(any::<u8>(), 12), ethertype, vec(any::<u8>(), HEADERS - 14..256))
        .prop_map(|(macs, ethertype, rest)| [&macs[..], &ethertype, &rest].concat())
}

/// An honest frame with some bytes changed and another end.
fn damage(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
    (proptest::sample::select(seeds), changes, HEADERS..128).prop_map(|(mut frame, changes, len)| {
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        frame.resize(len, 0);
        frame
    })
}

/// Verdicts on a packet that has become another.
const CHANGING: [Reason; 5] =
    [Reason::Delivered, Reason::Answered, Reason::Translated, Reason::Tunnelled, Reason::Routed];

/// The shaper's hooks: without a token a packet is not theirs, and most of theirs are counted elsewhere.
const QUEUE: [Hook; 2] = [Hook::ToShaper, Hook::FromShaper];

/// Runs the hook on a frame with a token and without; it must know what is its own.
fn judge_queued(underlay: &mut Underlay, hook: Hook, frame: &[u8]) -> Result<()> {
    let programs = &mut underlay.programs;
    ensure!(programs.pass(hook, frame)?.0 == Action::Next, "{hook:?} took what is not its own");
    for direction in Direction::ALL {
        let packet = Skb::from(frame).marked(Token::new(direction, 0).cut().mark());
        let action = programs.pass(hook, packet)?.0;
        // What leaves the queue has nowhere to go but to its pod.
        ensure!(hook == Hook::ToShaper || action != Action::Next, "{hook:?} let go of what is its own");
    }
    Ok(())
}

/// Runs every hook on many frames; what they count, record and answer is checked by every run.
fn judge_all(frames: impl Strategy<Value = Vec<u8>>) -> Result<()> {
    let mut underlay = Underlay::set()?;
    underlay.programs.set_node(&NodeState { shaper: IFINDEX + 1, shaped: IFINDEX, ..NodeState::default() })?;
    let underlay = std::cell::RefCell::new(underlay);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner.run(&frames, |frame| {
        for hook in QUEUE {
            let judged = judge_queued(&mut underlay.borrow_mut(), hook, &frame);
            judged.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        }
        for hook in Hook::ALL.into_iter().filter(|hook| !QUEUE.contains(hook)) {
            let outcome = underlay.borrow_mut().programs.run(hook, frame.as_slice());
            let outcome = outcome.map_err(|error| TestCaseError::fail(format!("{hook:?}: {error:#}")))?;
            let may_change = CHANGING.contains(&outcome.reason);
            prop_assert!(may_change || outcome.bytes == frame, "{hook:?}: {outcome:?} changed the packet");
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn noise_is_judged() -> Result<()> {
    judge_all(noise())
}

#[test]
fn damaged_packets_are_judged() -> Result<()> {
    judge_all(damage(seeds()?))
}
