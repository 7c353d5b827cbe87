//! What leaves by an uplink: pods get the node's address, everybody else stays as he is.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result, ensure};
use weft_abi::{Addr, Flow, FlowFlags, Reason, Target, Uplink};
use weft_tests::node::Family;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::packet::datagram::{ACK, Datagram, Kind, SYN};
use weft_tests::program::underlay::{LINK, Underlay, neighbour, node, pod, remote, tuple, world};
use weft_tests::program::{Action, IFINDEX, Skb};

/// A packet of the pod to the world.
pub(super) fn to_world(kind: Kind, family: Family) -> Datagram {
    let outside = if kind == Kind::EchoRequest { 0 } else { 443 };
    Datagram::new(kind, (pod(family), 40_000).into(), (world(family), outside).into()).link(LINK)
}

/// The first packets of flows in one family; IPv6 has no UDP without a checksum.
pub(super) fn beginnings(family: Family) -> impl Iterator<Item = Datagram> {
    let kinds = Kind::BEGINNINGS.into_iter();
    kinds.filter(move |kind| family == Family::V4 || *kind != Kind::UdpUnsummed).map(move |kind| to_world(kind, family))
}

#[test]
fn a_pod_gets_the_uplink_s_address_and_keeps_its_port() -> Result<()> {
    for family in Family::BOTH {
        for sent in beginnings(family) {
            for sent in [sent.clone(), sent.clone().options(), sent.clone().payload(b""), sent.payload(&[7; 1201])] {
                let mut underlay = Underlay::set()?;
                let left = underlay.must_translate(&sent)?;
                assert_eq!(left.src.port(), sent.src.port(), "{sent:?}");
                let (flow, nat) = underlay.entries(&sent, &left)?;
                assert_eq!(flow.nat_addr, Addr::from(node(family)));
                assert_eq!(flow.ifindex, IFINDEX);
                assert_eq!((nat.inside, nat.inside_port), (Addr::from(pod(family)), sent.src.port().to_be()));
                assert_eq!(nat.seen, 0, "nobody has answered");
            }
        }
    }
    Ok(())
}

#[test]
fn a_flow_keeps_its_translation() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            let first = underlay.must_translate(&sent)?;
            let more = Datagram { kind: if sent.kind == Kind::Tcp(SYN) { Kind::Tcp(ACK) } else { sent.kind }, ..sent };
            let second = underlay.must_translate(&more.clone().payload(b"more"))?;
            assert_eq!(first.src, second.src);
        }
    }
    Ok(())
}

#[test]
fn two_pods_with_one_port_towards_one_server_are_told_apart() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            let other = sent.from((neighbour(family), sent.src.port()).into());
            let first = underlay.must_translate(&sent)?;
            if sent.kind == Kind::Sctp {
                // Its checksum covers the ports by CRC: they stay, or the flow is refused.
                underlay.leaves(other.frame())?.must_be(Reason::NatExhausted)?;
                continue;
            }
            let second = underlay.must_translate(&other)?;
            ensure!(first.src != second.src, "{sent:?}: both left as {}", first.src);
            assert!(second.src.port() >= 1024);
            // Towards another server the port is free.
            let elsewhere = other.to((weft_tests::program::underlay::router(family), other.dst.port()).into());
            assert_eq!(underlay.must_translate(&elsewhere)?.src.port(), sent.src.port());
        }
    }
    Ok(())
}

#[test]
fn what_pods_say_to_pods_and_exempt_ranges_stays() -> Result<()> {
    let mut underlay = Underlay::set()?;
    underlay.programs.exempt("198.51.100.0/24")?;
    underlay.programs.exempt("2001:db8:51::/64")?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            for dst in [remote(family), world(family)] {
                let frame = sent.to((dst, sent.dst.port()).into()).frame();
                underlay.leaves(frame.as_slice())?.must_pass(&frame).with_context(|| format!("{sent:?} to {dst}"))?;
            }
        }
    }
    assert_eq!(underlay.programs.nats()?, []);
    Ok(())
}

#[test]
fn the_node_s_own_packets_stay() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for sent in beginnings(family) {
            for from in [node(family), weft_tests::program::underlay::peer(family)] {
                let frame = sent.from((from, sent.src.port()).into()).frame();
                let outcome = underlay.leaves(frame.as_slice())?;
                outcome.must_be(Reason::Host).with_context(|| format!("{sent:?} from {from}"))?;
                assert_eq!((outcome.action, outcome.bytes), (Action::Next, frame));
            }
        }
    }
    assert_eq!(underlay.programs.flows()?, []);
    assert_eq!(underlay.programs.nats()?, []);
    Ok(())
}

#[test]
fn what_is_no_ip_stays() -> Result<()> {
    let mut underlay = Underlay::set()?;
    let link = Link { dst: BROADCAST, ..LINK };
    let mut lldp = to_world(Kind::Udp, Family::V4).frame();
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    let mut tagged = lldp.clone();
    tagged[12..14].copy_from_slice(&[0x81, 0x00]);
    let arp = craft::arp(link, false, link.src, [192, 0, 2, 11].into(), [192, 0, 2, 1].into())?;
    for frame in [lldp, tagged, arp] {
        for outcome in [underlay.leaves(frame.as_slice())?, underlay.comes(frame.as_slice())?] {
            outcome.must_be(Reason::Host)?;
            assert_eq!((outcome.action, &outcome.bytes), (Action::Next, &frame));
        }
    }
    Ok(())
}

#[test]
fn without_an_address_of_the_family_nothing_leaks() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        let mut uplink = Uplink::default();
        match other {
            Family::V4 => uplink.v4 = node(other).into(),
            Family::V6 => uplink.v6 = node(other).into(),
        }
        underlay.programs.add_uplink(IFINDEX, uplink)?;
        for sent in beginnings(family) {
            underlay.leaves(sent.frame())?.must_be(Reason::NoNatAddr).with_context(|| format!("{sent:?}"))?;
        }
        underlay.must_translate(&to_world(Kind::Udp, other))?;
    }
    Ok(())
}

#[test]
fn a_flow_from_outside_is_answered_with_the_pod_s_own_address() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for kind in [Kind::Tcp(SYN), Kind::Udp, Kind::EchoRequest, Kind::Sctp] {
            let came = Datagram::new(kind, (world(family), 5000).into(), (pod(family), 80).into()).link(LINK);
            let came = if kind == Kind::EchoRequest { came.to((pod(family), 0).into()) } else { came };
            underlay.comes(came.frame())?.must_be(Reason::Delivered).with_context(|| format!("{came:?}"))?;
            let answer = came.answer().frame();
            underlay.leaves(answer.as_slice())?.must_pass(&answer).with_context(|| format!("{came:?}"))?;
        }
    }
    assert_eq!(underlay.programs.nats()?, []);
    Ok(())
}

#[test]
fn a_port_that_the_node_uses_is_not_handed_out() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let any = if family == Family::V4 { "0.0.0.0:40000" } else { "[::]:40000" };
        let netns = underlay.programs.netns().context("no namespace")?;
        let (_listener, _socket) = netns.enter(|| (TcpListener::bind(any), UdpSocket::bind(any)))?;
        for kind in [Kind::Tcp(SYN), Kind::Udp] {
            let left = underlay.must_translate(&to_world(kind, family))?;
            assert_ne!(left.src.port(), 40_000, "{kind:?} took a port of the node's");
        }
    }
    Ok(())
}

#[test]
fn a_port_that_a_pod_s_flow_has_is_not_taken_over_by_the_node() -> Result<()> {
    for family in Family::BOTH {
        for sent in [to_world(Kind::Tcp(SYN), family), to_world(Kind::Udp, family), to_world(Kind::EchoRequest, family)]
        {
            let mut underlay = Underlay::set()?;
            let left = underlay.must_translate(&sent)?;
            let own = left.clone().payload(b"the node itself");
            let outcome = underlay.leaves(own.frame())?;
            outcome.must_be(Reason::Translated)?;
            let flow = underlay.programs.flow(&tuple(&own))?.context("no flow of the node's")?;
            assert!(flow.flags & FlowFlags::HOST != 0, "{flow:?}");
            assert_ne!(flow.nat_port, left.src.port().to_be());
            assert_ne!(underlay.programs.node()?.host_flows, 0);
            let moved = own.from(SocketAddr::new(node(family), u16::from_be(flow.nat_port)));
            weft_tests::program::underlay::must_equal(&outcome.bytes, &moved.frame())?;
            // The answer comes to the node's own port, by way of its stack.
            let answer = underlay.comes(moved.answer().frame())?;
            answer.must_be(Reason::Translated)?;
            assert_eq!(answer.action, Action::Next);
            weft_tests::program::underlay::must_equal(&answer.bytes, &own.answer().frame())?;
            // And the pod's still comes to the pod.
            let back = sent.answer().link(weft_tests::program::underlay::delivered());
            underlay.must_return(&left.answer().frame(), &back.frame())?;
        }
    }
    Ok(())
}

#[test]
fn when_no_port_is_left_the_destination_is_counted() -> Result<()> {
    let mut underlay = Underlay::set()?;
    let sent = to_world(Kind::Udp, Family::V4);
    let left = sent.from((node(Family::V4), 1).into());
    // Every port towards that server is somebody's.
    let mut tuple = tuple(&left);
    let nat = weft_abi::Nat { inside: Addr::from(neighbour(Family::V4)), ..weft_abi::Nat::default() };
    for port in 1024..=u16::MAX {
        tuple.inside_port = port.to_be();
        underlay.programs.put_nat(&tuple, &nat)?;
    }
    for _ in 0..3 {
        underlay.leaves(sent.frame())?.must_be(Reason::NatExhausted)?;
    }
    let target =
        Target { addr: world(Family::V4).into(), port: sent.dst.port().to_be(), protocol: 17, ..Target::default() };
    assert_eq!(underlay.programs.nat_full(&target)?, 3);
    // Another server is no worse off.
    underlay.must_translate(&sent.to((world(Family::V4), 444).into())).map(drop)
}

#[test]
fn later_segments_of_a_large_packet_come_along() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let sent = to_world(Kind::Tcp(ACK), family).payload(&[1; 3000]);
        let outcome = underlay.leaves(Skb::gso(sent.frame(), 1400))?;
        outcome.must_be(Reason::Translated)?;
        let left = sent.from((node(family), sent.src.port()).into());
        weft_tests::program::underlay::must_equal(&outcome.bytes, &left.frame())?;
    }
    Ok(())
}

#[test]
fn a_torn_down_flow_is_marked_so_that_it_leaves_soon() -> Result<()> {
    use weft_tests::packet::datagram::{FIN, RST};
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let sent = to_world(Kind::Tcp(SYN), family);
        let left = underlay.must_translate(&sent)?;
        let back = |flags: u8| (Datagram { kind: Kind::Tcp(flags), ..left.answer() }).frame();
        underlay.comes(back(SYN | ACK))?.must_be(Reason::Translated)?;
        let answered = underlay.entries(&sent, &left)?.1;
        assert_ne!(answered.seen, 0, "the answer was not noted");
        underlay.must_translate(&Datagram { kind: Kind::Tcp(FIN | ACK), ..sent.clone() })?;
        let closing: (Flow, _) = underlay.entries(&sent, &left)?;
        assert!(closing.0.flags & FlowFlags::FIN_INSIDE != 0, "{closing:?}");
        underlay.comes(back(FIN | ACK))?.must_be(Reason::Translated)?;
        let closed = underlay.entries(&sent, &left)?;
        assert!(closed.1.flags & FlowFlags::FIN_OUTSIDE != 0, "{closed:?}");
        underlay.comes(back(RST))?.must_be(Reason::Translated)?;
        let reset = underlay.entries(&sent, &left)?;
        assert!(reset.1.flags & FlowFlags::RESET != 0, "{reset:?}");
    }
    Ok(())
}
