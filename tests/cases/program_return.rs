//! What comes in by an uplink: answers find their pods, and nobody else's packets are touched.

use std::net::IpAddr;

use anyhow::{Context, Result};
use weft_abi::{Peer, Reason};
use weft_tests::node::Family;
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::program::Action;
use weft_tests::program::underlay::{
    LINK, Underlay, delivered, must_equal, neighbour, node, peer, pod, remote, router, world,
};

use super::program_masquerade::{beginnings, to_world};

#[test]
fn an_answer_goes_straight_into_the_pod() -> Result<()> {
    for family in Family::BOTH {
        for sent in beginnings(family) {
            for sent in [sent.clone(), sent.options()] {
                let mut underlay = Underlay::set()?;
                let left = underlay.must_translate(&sent)?;
                let back = sent.answer().link(delivered());
                underlay.must_return(&left.answer().frame(), &back.frame()).with_context(|| format!("{sent:?}"))?;
                assert_ne!(underlay.entries(&sent, &left)?.1.seen, 0, "the answer was not noted");
            }
        }
    }
    Ok(())
}

#[test]
fn an_unsummed_udp_answer_stays_unsummed() -> Result<()> {
    let mut underlay = Underlay::set()?;
    let left = underlay.must_translate(&to_world(Kind::Udp, Family::V4))?;
    let came = Datagram { kind: Kind::UdpUnsummed, ..left.answer() };
    let outcome = underlay.comes(came.frame())?;
    outcome.must_be(Reason::Translated)?;
    assert_eq!(outcome.bytes[40..42], [0, 0]);
    Ok(())
}

#[test]
fn packets_of_nobody_stay() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            for (src, dst) in
                [(world(family), node(family)), (world(family), router(family)), (node(family), world(family))]
            {
                let frame = Datagram { src: (src, 443).into(), dst: (dst, 40_000).into(), ..sent.clone() }.frame();
                let outcome = underlay.comes(frame.as_slice())?;
                outcome.must_be(Reason::Host).with_context(|| format!("{src} to {dst}"))?;
                assert_eq!((outcome.action, outcome.bytes), (Action::Next, frame));
            }
        }
    }
    Ok(())
}

#[test]
fn only_the_server_that_was_asked_may_answer() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            let left = underlay.must_translate(&sent)?;
            let mut strangers = vec![left.answer().from((router(family), left.dst.port()).into())];
            if sent.kind != Kind::EchoRequest {
                strangers.push(left.answer().from((world(family), 444).into()));
            }
            for stranger in strangers {
                let frame = stranger.frame();
                let outcome = underlay.comes(frame.as_slice())?;
                outcome.must_be(Reason::Host).with_context(|| format!("{stranger:?}"))?;
                assert_eq!(outcome.bytes, frame);
            }
        }
    }
    Ok(())
}

#[test]
fn an_echo_request_to_the_node_is_the_node_s() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        let left = underlay.must_translate(&to_world(Kind::EchoRequest, family))?;
        // The same identifier, asked the other way round.
        let asked = Datagram { kind: Kind::EchoRequest, src: (left.dst.ip(), left.src.port()).into(), ..left.answer() };
        let frame = asked.frame();
        let outcome = underlay.comes(frame.as_slice())?;
        outcome.must_be(Reason::Host)?;
        assert_eq!(outcome.bytes, frame);
    }
    Ok(())
}

#[test]
fn a_routed_packet_to_a_pod_is_delivered_as_it_is() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for (family, range) in Family::BOTH.into_iter().zip(["10.244.3.0/24", "fd00:10:244:3::/64"]) {
        // A node whose pods the network itself routes to.
        underlay.programs.add_peer(range, Peer { node: peer(family).into(), ..Peer::default() })?;
        let routed: IpAddr = range.split('/').next().unwrap_or_default().parse()?;
        for src in [routed, world(family), peer(family)] {
            for kind in [Kind::Tcp(SYN), Kind::Udp, Kind::Sctp] {
                let came = Datagram::new(kind, (src, 5000).into(), (pod(family), 80).into()).link(LINK);
                let outcome = underlay.comes(came.frame())?;
                outcome.must_be(Reason::Delivered).with_context(|| format!("{came:?}"))?;
                assert_eq!(outcome.action, Action::Redirect);
                must_equal(&outcome.bytes, &came.link(delivered()).frame())?;
            }
        }
    }
    Ok(())
}

#[test]
fn pods_of_the_overlay_and_of_this_node_do_not_come_by_the_uplink() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for src in [remote(family), neighbour(family), pod(family)] {
            let lie = Datagram::new(Kind::Udp, (src, 5000).into(), (pod(family), 80).into()).link(LINK);
            underlay.comes(lie.frame())?.must_be(Reason::PeerSource).with_context(|| format!("as {src}"))?;
        }
    }
    Ok(())
}

#[test]
fn what_the_stack_has_carried_returns_through_it() -> Result<()> {
    for family in Family::BOTH {
        for sent in beginnings(family) {
            let mut underlay = Underlay::set()?;
            // As far as a test run can say, the stack forwarded it.
            underlay.leaves(sent.frame())?.must_be(Reason::Translated)?;
            let left = sent.from((node(family), sent.src.port()).into());
            let outcome = underlay.comes(left.answer().frame())?;
            outcome.must_be(Reason::Translated)?;
            assert_eq!(outcome.action, Action::Next, "{sent:?}");
            must_equal(&outcome.bytes, &sent.answer().frame())?;
        }
    }
    Ok(())
}

/// ICMP errors that quote a packet: type and code per family.
fn errors(family: Family) -> Vec<(u8, u8, u32)> {
    match family {
        // Unreachable port, fragmentation needed, time exceeded.
        Family::V4 => vec![(3, 3, 0), (3, 4, 1400), (11, 0, 0)],
        // Unreachable port, packet too big, time exceeded.
        Family::V6 => vec![(1, 4, 0), (2, 0, 1400), (3, 0, 0)],
    }
}

#[test]
fn an_icmp_error_about_a_pod_s_packet_goes_to_the_pod() -> Result<()> {
    for family in Family::BOTH {
        for sent in beginnings(family) {
            let mut underlay = Underlay::set()?;
            let left = underlay.must_translate(&sent)?;
            for (kind, code, info) in errors(family) {
                // Whole, and as short as RFC 792 allows: eight bytes of the transport.
                for limit in [1000, if family == Family::V4 { 28 } else { 48 }] {
                    let came = left.error(router(family), kind, code, info, limit);
                    let outcome = underlay.comes(came.as_slice())?;
                    outcome.must_be(Reason::Translated).with_context(|| format!("{kind}/{code} about {sent:?}"))?;
                    assert_eq!(outcome.action, Action::Redirect);
                    let expected = sent.clone().link(delivered()).error(router(family), kind, code, info, limit);
                    must_equal(&outcome.bytes, &expected)
                        .with_context(|| format!("{kind}/{code} about {sent:?} in {limit} bytes"))?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn icmp_errors_about_packets_with_options_go_to_the_pod() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let sent = to_world(Kind::Udp, family).options();
        let left = underlay.must_translate(&sent)?;
        for (kind, code, info) in errors(family) {
            let outcome = underlay.comes(left.error(router(family), kind, code, info, 1000))?;
            outcome.must_be(Reason::Translated).with_context(|| format!("{kind}/{code}, {family:?}"))?;
            let expected = sent.clone().link(delivered()).error(router(family), kind, code, info, 1000);
            must_equal(&outcome.bytes, &expected).with_context(|| format!("{kind}/{code}, {family:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn an_icmp_error_about_a_stranger_s_packet_stays() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        underlay.must_translate(&to_world(Kind::Udp, family))?;
        let strange = Datagram::new(Kind::Udp, (node(family), 7).into(), (world(family), 443).into()).link(LINK);
        for (kind, code, info) in errors(family) {
            let frame = strange.error(router(family), kind, code, info, 1000);
            let outcome = underlay.comes(frame.as_slice())?;
            outcome.must_be(Reason::Host)?;
            assert_eq!(outcome.bytes, frame);
        }
    }
    Ok(())
}

#[test]
fn a_pod_s_icmp_error_about_an_answer_goes_out_in_the_node_s_name() -> Result<()> {
    for family in Family::BOTH {
        for sent in beginnings(family).filter(|sent| sent.kind != Kind::EchoRequest) {
            let mut underlay = Underlay::set()?;
            let left = underlay.must_translate(&sent)?;
            let (kind, code) = if family == Family::V4 { (3, 3) } else { (1, 4) };
            // The pod got the answer and has nobody at that port.
            let got = sent.answer();
            let complaint = got.error(pod(family), kind, code, 0, 1000);
            let outcome = underlay.leaves(complaint.as_slice())?;
            outcome.must_be(Reason::Translated).with_context(|| format!("{sent:?}"))?;
            let expected = left.answer().error(node(family), kind, code, 0, 1000);
            must_equal(&outcome.bytes, &expected).with_context(|| format!("{sent:?}"))?;
        }
    }
    Ok(())
}
