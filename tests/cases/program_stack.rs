//! What only the node's stack knows the way to, and what it has carried.

use std::net::IpAddr;

use anyhow::{Context, Result};
use weft_abi::{FlowFlags, Peer, PeerFlags, Reason};
use weft_tests::node::Family;
use weft_tests::packet::craft::Link;
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::underlay::{Underlay, neighbour, node, peer, pod, remote, router, tuple, world};
use weft_tests::program::{Action, Hook, OVERLAY_PORT, Skb};

const STACK: Peer = Peer { flags: PeerFlags::STACK, ..NOBODY };
const NOBODY: Peer = Peer { node: weft_abi::Addr { words: [0; 4] }, device: 0, vni: 0, flags: 0, mtu: 0 };

/// Services' addresses, and those of a node that is one.
fn services(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["10.96.0.10", "192.0.2.12"],
        Family::V6 => ["fd00:10:96::a", "2001:db8::12"],
    }
}

#[test]
fn what_a_pod_sends_to_a_service_is_left_to_the_stack_as_it_is() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for (family, bits) in Family::BOTH.into_iter().zip([32, 128]) {
        let [service, of_node] = services(family);
        underlay.programs.add_peer(&format!("{service}/{bits}"), STACK)?;
        let both = Peer { flags: PeerFlags::NODE | PeerFlags::STACK, node: peer(family).into(), ..NOBODY };
        underlay.programs.add_peer(&format!("{of_node}/{bits}"), both)?;
        for address in services(family) {
            for kind in [Kind::Tcp(SYN), Kind::Udp, Kind::Sctp] {
                let sent = Datagram::new(kind, (pod(family), 40_000).into(), (address.parse::<IpAddr>()?, 80).into());
                let frame = sent.link(SELF.link()).frame();
                let outcome = underlay.programs.run(Hook::FromPod, frame.as_slice())?;
                outcome.must_pass(&frame).with_context(|| format!("{kind:?} to {address}"))?;
            }
            // By way of a service nobody gets into the tunnel either.
            let sent = Datagram::new(
                Kind::Udp,
                (pod(family), 40_000).into(),
                (address.parse::<IpAddr>()?, OVERLAY_PORT).into(),
            );
            let frame = sent.link(SELF.link()).frame();
            underlay.programs.run(Hook::FromPod, frame)?.must_be(Reason::TunnelSpoof)?;
        }
    }
    Ok(())
}

#[test]
fn while_services_are_unknown_pods_find_pods_and_the_world_is_no_peer() -> Result<()> {
    let mut underlay = Underlay::set()?;
    underlay.programs.add_peer("0.0.0.0/0", STACK)?;
    underlay.programs.add_peer("::/0", STACK)?;
    for family in Family::BOTH {
        for (dst, due) in [
            (neighbour(family), Reason::Delivered),
            (remote(family), Reason::Tunnelled),
            (world(family), Reason::Passed),
        ] {
            let sent = Datagram::new(Kind::Tcp(SYN), (pod(family), 40_000).into(), (dst, 80).into());
            let frame = sent.link(SELF.link()).frame();
            underlay.programs.run(Hook::FromPod, frame)?.must_be(due).with_context(|| dst.to_string())?;
        }
        // Whoever begins a flow from there is answered as the pod.
        let came = Datagram::new(Kind::Tcp(SYN), (world(family), 5000).into(), (pod(family), 80).into());
        underlay.comes(came.frame())?.must_be(Reason::Delivered)?;
        let flow = underlay.programs.flow(&tuple(&came.answer()))?.context("the flow was not recorded")?;
        assert_eq!(flow.flags & FlowFlags::INBOUND, FlowFlags::INBOUND);
        underlay.leaves(came.answer().frame())?.must_be(Reason::Passed)?;
        // The tunnel is for peers alone.
        let came = Datagram::new(Kind::Udp, (world(family), 5000).into(), (pod(family), 80).into());
        underlay.programs.run(Hook::FromOverlay, came.frame())?.must_be(Reason::UnknownPeer)?;
    }
    Ok(())
}

#[test]
fn an_error_about_what_the_stack_has_carried_goes_back_through_it() -> Result<()> {
    for family in Family::BOTH {
        let v4 = family == Family::V4;
        let mut underlay = Underlay::set()?;
        // To the pod: it answers that nobody listens.
        let link = Link { src: OTHER.link().src, dst: SELF.link().dst };
        let came = Datagram::new(Kind::Udp, (neighbour(family), 5000).into(), (pod(family), 80).into());
        let (kind, code) = if v4 { (3, 3) } else { (1, 4) };
        let error = came.clone().from(came.src).link(SELF.link()).error(pod(family), kind, code, 0, 512);
        underlay.programs.run(Hook::FromPod, error.as_slice())?.must_be(Reason::Delivered)?;
        let forwarded = Skb::from(came.link(link).frame()).forwarded_from(7);
        underlay.programs.run(Hook::ToPod, forwarded)?.must_be(Reason::Passed)?;
        underlay.programs.run(Hook::FromPod, error)?.must_be(Reason::Passed).context("of the pod")?;

        // From the pod: a router answers that it is too large.
        let mut underlay = Underlay::set()?;
        let sent = Datagram::new(Kind::Tcp(SYN), (pod(family), 40_000).into(), (remote(family), 80).into());
        let (kind, code) = if v4 { (3, 4) } else { (2, 0) };
        let error = sent.error(router(family), kind, code, 1400, 512);
        underlay.comes(error.as_slice())?.must_be(Reason::Delivered)?;
        underlay.leaves(sent.frame())?.must_be(Reason::Passed)?;
        let outcome = underlay.comes(error.as_slice())?;
        outcome.must_be(Reason::Passed).context("to the pod")?;
        assert_eq!((outcome.action, outcome.bytes), (Action::Next, error));
    }
    Ok(())
}

#[test]
fn a_mark_of_somebody_else_makes_no_packet_a_pod_s() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for mark in [0x4000, 0x8000, 1, 2, u32::MAX >> 1, u32::MAX] {
            let sent = Datagram::new(Kind::Tcp(SYN), (node(family), 40_000).into(), (world(family), 80).into());
            let outcome = underlay.leaves(Skb::from(sent.frame()).marked(mark))?;
            outcome.must_be(Reason::Host).with_context(|| format!("{mark:#x}"))?;
            assert_eq!(outcome.bytes, sent.frame());
        }
    }
    Ok(())
}
