//! Ports of the node that are pods', asked for from outside.

use std::net::{IpAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result, ensure};
use weft_abi::{Addr, FlowFlags, HostPort, Pod, PodFlags, Reason, Target, Uplink};
use weft_tests::exec;
use weft_tests::kernel;
use weft_tests::node::Family;
use weft_tests::packet::datagram::{ACK, Datagram, Kind, RST, SYN};
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::underlay::{
    LINK, Underlay, delivered, must_equal, neighbour, node, pod, router, tuple, world,
};
use weft_tests::program::{Action, Hook, IFINDEX, Outcome, Programs};
use weft_tests::traffic::meet;

/// What is asked for at the node, and what the pod listens on.
pub(super) const ASKED: u16 = 8080;
pub(super) const LISTENS: u16 = 80;

/// Every address of the node in that family, or one.
pub(super) fn target(kind: Kind, addr: IpAddr) -> Target {
    Target { addr: addr.into(), port: ASKED.to_be(), protocol: kind.protocol(addr.is_ipv4()), pad: 0 }
}

pub(super) fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0_u16; 8]),
    }
}

/// SCTP's checksum covers its ports: they stay.
pub(super) fn listens(kind: Kind) -> u16 {
    if kind == Kind::Sctp { ASKED } else { LISTENS }
}

pub(super) fn behind(kind: Kind, addr: IpAddr) -> HostPort {
    HostPort { pod: addr.into(), port: listens(kind).to_be(), pad: 0, endpoint_id: SELF.pod.endpoint_id }
}

pub(super) fn kinds(family: Family) -> impl Iterator<Item = Kind> {
    [Kind::Tcp(SYN), Kind::Udp, Kind::UdpUnsummed, Kind::Sctp]
        .into_iter()
        .filter(move |kind| family == Family::V4 || *kind != Kind::UdpUnsummed)
}

/// A node whose ports are the pod's, which knows so.
pub(super) fn set() -> Result<Underlay> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        underlay.programs.add_node_addr(node(family))?;
        underlay.programs.add(pod(family), Pod { flags: PodFlags::PORTS, ..SELF.pod })?;
        for kind in [Kind::Tcp(SYN), Kind::Udp, Kind::Sctp] {
            underlay.programs.publish(&target(kind, any(family)), &behind(kind, pod(family)))?;
        }
    }
    Ok(underlay)
}

/// A packet for the node's port.
pub(super) fn request(kind: Kind, family: Family) -> Datagram {
    Datagram::new(kind, (world(family), 50_000).into(), (node(family), ASKED).into()).link(LINK)
}

/// The same as the pod sees it.
pub(super) fn as_delivered(request: &Datagram) -> Datagram {
    let family = if request.dst.is_ipv4() { Family::V4 } else { Family::V6 };
    request.to((pod(family), listens(request.kind)).into()).link(delivered())
}

/// The pod's answer and what whoever asked has to see of it.
pub(super) fn answers(request: &Datagram) -> (Datagram, Datagram) {
    (as_delivered(request).answer().link(SELF.link()), request.answer())
}

pub(super) fn must_deliver(outcome: &Outcome, request: &Datagram) -> Result<()> {
    outcome.must_be(Reason::Translated).with_context(|| format!("{request:?}"))?;
    ensure!(outcome.action == Action::Redirect, "it was told to {:?}", outcome.action);
    must_equal(&outcome.bytes, &as_delivered(request).frame())
}

pub(super) fn must_stay(outcome: &Outcome, request: &Datagram) -> Result<()> {
    outcome.must_be(Reason::Host).with_context(|| format!("{request:?}"))?;
    ensure!(outcome.bytes == request.frame(), "it was changed");
    Ok(())
}

/// A way into the world that the node's routes know; the device's index.
fn with_route(programs: &mut Programs) -> Result<()> {
    let netns = programs.netns().context("no namespace")?;
    kernel::set_sysctl(netns, "net/ipv4/ip_forward", "1")?;
    kernel::set_sysctl(netns, "net/ipv6/conf/all/forwarding", "1")?;
    exec::ip_batch(
        netns,
        &[
            "link add wire type veth peer name far",
            "link set far addrgenmode none up",
            "link set wire addrgenmode none up",
            "address add 192.0.2.11/24 dev wire",
            "address add 2001:db8::11/64 dev wire nodad",
            "route add default via 192.0.2.1",
            "route add default via 2001:db8::1",
        ],
    )?;
    let index = netns.enter(|| nix::net::if_::if_nametoindex("wire"))??;
    let [v4, v6] = Family::BOTH.map(|family| Addr::from(node(family)));
    programs.add_uplink(index, Uplink { v4, v6 })
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_and_back() -> Result<()> {
    for family in Family::BOTH {
        for kind in kinds(family) {
            for asked in [request(kind, family), request(kind, family).options()] {
                let mut underlay = set()?;
                must_deliver(&underlay.comes(asked.frame())?, &asked)?;
                let (answer, seen) = answers(&asked);
                // No way past the stack is known: it is translated behind it.
                let passed = underlay.programs.run(Hook::FromPod, answer.frame())?;
                passed.must_pass(&answer.frame())?;
                let left = underlay.leaves(answer.clone().link(LINK).frame())?;
                left.must_be(Reason::Translated)?;
                must_equal(&left.bytes, &seen.frame())?;

                let flow = underlay.programs.flow(&tuple(&answer))?.context("no flow")?;
                let due = FlowFlags::INBOUND | FlowFlags::TRANSLATED | FlowFlags::PORT | FlowFlags::REPLIED;
                assert_eq!(flow.flags & due, due, "{flow:?}");
                let nat = underlay.programs.nat(&tuple(&asked.answer()))?.context("no way back")?;
                assert_eq!(nat.endpoint_id, SELF.pod.endpoint_id);
                // And again, now that the flow is known.
                let more = if kind == Kind::Tcp(SYN) { Kind::Tcp(ACK) } else { kind };
                let more = Datagram { kind: more, ..asked }.payload(b"more");
                must_deliver(&underlay.comes(more.frame())?, &more)?;
            }
        }
    }
    Ok(())
}

#[test]
fn an_answer_goes_straight_out_where_the_routes_lead() -> Result<()> {
    for family in Family::BOTH {
        for adopted in [0, PodFlags::ADOPTED] {
            let mut underlay = set()?;
            with_route(&mut underlay.programs)?;
            underlay.programs.add(pod(family), Pod { flags: PodFlags::PORTS | adopted, ..SELF.pod })?;
            for kind in kinds(family) {
                let asked = request(kind, family);
                must_deliver(&underlay.comes(asked.frame())?, &asked)?;
                let (answer, seen) = answers(&asked);
                let outcome = underlay.programs.run(Hook::FromPod, answer.frame())?;
                outcome.must_be(Reason::Translated)?;
                assert_eq!(outcome.action, Action::Redirect);
                must_equal(&outcome.bytes, &seen.ttl(63).link(SELF.link()).frame())?;
            }
        }
    }
    Ok(())
}

#[test]
fn one_address_means_that_address() -> Result<()> {
    for family in Family::BOTH {
        for kind in [Kind::Tcp(SYN), Kind::Udp] {
            let mut underlay = Underlay::set()?;
            underlay.programs.add_node_addr(node(family))?;
            underlay.programs.add_node_addr(router(family))?;
            underlay.programs.publish(&target(kind, node(family)), &behind(kind, pod(family)))?;
            let asked = request(kind, family);
            must_deliver(&underlay.comes(asked.frame())?, &asked)?;
            let elsewhere = asked.to((router(family), ASKED).into());
            must_stay(&underlay.comes(elsewhere.frame())?, &elsewhere)?;
        }
    }
    Ok(())
}

#[test]
fn one_address_comes_before_all() -> Result<()> {
    let mut underlay = set()?;
    for family in Family::BOTH {
        let special = HostPort {
            pod: neighbour(family).into(),
            port: 81_u16.to_be(),
            pad: 0,
            endpoint_id: OTHER.pod.endpoint_id,
        };
        underlay.programs.publish(&target(Kind::Udp, node(family)), &special)?;
        let asked = request(Kind::Udp, family);
        let outcome = underlay.comes(asked.frame())?;
        outcome.must_be(Reason::Translated)?;
        must_equal(&outcome.bytes, &asked.to((neighbour(family), 81).into()).link(OTHER.link_back()).frame())?;
    }
    Ok(())
}

#[test]
fn what_is_nobodys_stays() -> Result<()> {
    let mut underlay = set()?;
    for family in Family::BOTH {
        for kind in kinds(family) {
            let asked = request(kind, family);
            let strangers = [
                asked.to((node(family), ASKED + 1).into()),
                // Not the node's address: it is only routed.
                asked.to((router(family), ASKED).into()),
                // Nobody of this node is outside.
                asked.from((node(family), 50_000).into()),
                asked.from((neighbour(family), 50_000).into()),
            ];
            for stranger in strangers {
                must_stay(&underlay.comes(stranger.frame())?, &stranger)?;
            }
        }
        let reset = request(Kind::Tcp(RST), family);
        must_stay(&underlay.comes(reset.frame())?, &reset)?;
    }
    let loopback = request(Kind::Udp, Family::V4).to(([127, 0, 0, 1], ASKED).into());
    underlay.programs.publish(&target(Kind::Udp, loopback.dst.ip()), &behind(Kind::Udp, pod(Family::V4)))?;
    must_stay(&underlay.comes(loopback.frame())?, &loopback)?;
    assert_eq!((underlay.programs.flows()?, underlay.programs.nats()?), (vec![], vec![]));
    Ok(())
}

#[test]
fn a_socket_of_the_node_keeps_its_port() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = set()?;
        let all = format!("{}:{ASKED}", if family == Family::V4 { "0.0.0.0" } else { "[::]" });
        let netns = underlay.programs.netns().context("no namespace")?;
        let sockets = netns.enter(|| (TcpListener::bind(&all), UdpSocket::bind(&all)))?;
        for kind in [Kind::Tcp(SYN), Kind::Udp] {
            let asked = request(kind, family);
            must_stay(&underlay.comes(asked.frame())?, &asked)?;
        }
        meet::let_go(underlay.programs.netns().context("no namespace")?, ASKED, sockets)?;
        let asked = request(Kind::Udp, family);
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
    }
    Ok(())
}

#[test]
fn fragments_follow_the_first_one() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = set()?;
        let asked = request(Kind::Udp, family).payload(&[7; 2000]);
        let due = as_delivered(&asked).pieces(1200, 77);
        for (piece, due) in asked.pieces(1200, 77).into_iter().zip(due) {
            let outcome = underlay.comes(piece)?;
            outcome.must_be(Reason::Translated)?;
            // The checksum is the first piece's, and counts the whole.
            assert_eq!(outcome.bytes.len(), due.len());
            assert_eq!(outcome.bytes[26..34], due[26..34]);
        }
        let (answer, _) = answers(&asked);
        for piece in answer.link(LINK).pieces(1200, 78) {
            underlay.leaves(piece)?.must_be(Reason::Translated)?;
        }
    }
    Ok(())
}

#[test]
fn errors_find_their_way_both_ways() -> Result<()> {
    for (family, unreachable) in Family::BOTH.into_iter().zip([(3, 4), (2, 0)]) {
        let (kind, code) = unreachable;
        let mut underlay = set()?;
        with_route(&mut underlay.programs)?;
        let asked = request(Kind::Udp, family);
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
        let (answer, seen) = answers(&asked);
        // A router about an answer.
        let about = seen.clone().link(LINK);
        let outcome = underlay.comes(Datagram { link: LINK, ..about }.error(router(family), kind, code, 1400, 500))?;
        outcome.must_be(Reason::Translated)?;
        let due = Datagram { link: delivered(), ..answer.clone() }.error(router(family), kind, code, 1400, 500);
        must_equal(&outcome.bytes, &due)?;
        // The pod about what it was asked.
        let refusal = Datagram { link: SELF.link(), ..as_delivered(&asked) }.error(pod(family), kind, code, 0, 500);
        let outcome = underlay.programs.run(Hook::FromPod, refusal)?;
        outcome.must_be(Reason::Translated)?;
        let due = Datagram { link: SELF.link(), ..asked.clone() }.error(node(family), kind, code, 0, 500);
        let mut due = due;
        if family == Family::V4 {
            due[22] -= 1;
            due[24] = due[24].wrapping_add(1);
        } else {
            due[21] -= 1;
        }
        must_equal(&outcome.bytes, &due)?;
    }
    Ok(())
}

#[test]
fn without_ports_nothing_is_looked_for() -> Result<()> {
    let mut underlay = set()?;
    let node_state = underlay.programs.node()?;
    underlay.programs.set_node(&weft_abi::NodeState { ports: 0, ..node_state })?;
    for family in Family::BOTH {
        let asked = request(Kind::Udp, family);
        must_stay(&underlay.comes(asked.frame())?, &asked)?;
    }
    assert_eq!(IFINDEX, SELF.pod.ifindex);
    Ok(())
}
