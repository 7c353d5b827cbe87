//! Random flows out and back: what returns equals what left.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use weft_abi::Reason;
use weft_tests::node::Family;
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::program::underlay::{LINK, Underlay, delivered, must_equal, neighbour, node, pod, router};

/// Flows a run.
const CASES: u32 = 1500;

/// One of the two pods of the node.
fn inside(family: Family) -> impl Strategy<Value = IpAddr> {
    prop_oneof![Just(pod(family)), Just(neighbour(family))]
}

/// Somebody in the world: few enough that ports collide.
fn outside(family: Family) -> impl Strategy<Value = IpAddr> {
    (1_u8..4).prop_map(move |host| match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, host).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, host.into()).into(),
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![1_u16.., 40_000_u16..40_004, Just(1), Just(u16::MAX)]
}

fn flow(family: Family) -> impl Strategy<Value = Datagram> {
    let kinds = match family {
        Family::V4 => vec![Kind::Tcp(SYN), Kind::Udp, Kind::UdpUnsummed, Kind::EchoRequest, Kind::Sctp],
        Family::V6 => vec![Kind::Tcp(SYN), Kind::Udp, Kind::EchoRequest, Kind::Sctp],
    };
    let ends = (inside(family), port(), outside(family), port());
    let rest = (vec(any::<u8>(), 0..64), any::<bool>(), 2_u8..);
    (proptest::sample::select(kinds), ends, rest).prop_map(
        |(kind, (src, sport, dst, dport), (payload, options, ttl))| {
            let dport = if kind == Kind::EchoRequest { 0 } else { dport };
            let sent = Datagram::new(kind, (src, sport).into(), (dst, dport).into()).link(LINK);
            let sent = sent.payload(&payload).ttl(ttl);
            if options { sent.options() } else { sent }
        },
    )
}

/// Out and back, and an ICMP error about it.
fn there_and_back(underlay: &mut Underlay, sent: &Datagram, given: &mut HashMap<Key, SocketAddr>) -> Result<()> {
    if sent.kind == Kind::Sctp {
        // Its ports stay, so whoever comes second with one is refused.
        let family = if sent.src.is_ipv4() { Family::V4 } else { Family::V6 };
        let kept = (SocketAddr::new(node(family), sent.src.port()), sent.dst, sent.kind.protocol(sent.src.is_ipv4()));
        if given.get(&kept).is_some_and(|owner| *owner != sent.src) {
            return underlay.leaves(sent.frame())?.must_be(Reason::NatExhausted);
        }
    }
    let left = underlay.must_translate(sent)?;
    // No two flows of the world's side are the same.
    let key = (left.src, left.dst, left.kind.protocol(left.src.is_ipv4()));
    let owner = *given.entry(key).or_insert(sent.src);
    ensure!(owner == sent.src, "{owner} and {} share {} towards {}", sent.src, left.src, left.dst);
    let back = sent.answer().link(delivered_to(sent));
    underlay.must_return(&left.answer().frame(), &back.frame())?;
    if sent.options && sent.src.is_ipv6() {
        // Errors about packets with extension headers have a test of their own.
        return Ok(());
    }
    let family = if sent.src.is_ipv4() { Family::V4 } else { Family::V6 };
    let (kind, code) = if family == Family::V4 { (11, 0) } else { (3, 0) };
    let error = underlay.comes(left.error(router(family), kind, code, 0, 500))?;
    error.must_be(Reason::Translated)?;
    must_equal(&error.bytes, &sent.clone().link(delivered_to(sent)).error(router(family), kind, code, 0, 500))
}

/// What the world can tell flows apart by.
type Key = (SocketAddr, SocketAddr, u8);

fn delivered_to(sent: &Datagram) -> weft_tests::packet::craft::Link {
    let family = if sent.src.is_ipv4() { Family::V4 } else { Family::V6 };
    if sent.src.ip() == pod(family) { delivered() } else { weft_tests::program::scene::OTHER.link_back() }
}

#[test]
fn what_returns_equals_what_left() -> Result<()> {
    for family in Family::BOTH {
        let world = RefCell::new((Underlay::set()?, HashMap::new()));
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        runner.run(&flow(family), |sent| {
            let (underlay, given) = &mut *world.borrow_mut();
            there_and_back(underlay, &sent, given).map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })?;
        let (underlay, _) = world.into_inner();
        for (tuple, _) in underlay.programs.nats()? {
            assert_eq!(IpAddr::from(tuple.inside), node(family));
        }
    }
    Ok(())
}
