//! The overlay: into the tunnel, out of it, and nobody in another's name.

use anyhow::{Context, Result};
use weft_abi::Reason;
use weft_tests::node::Family;
use weft_tests::packet::craft::Link;
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::tunnel::{Sender, Tunnel};
use weft_tests::program::underlay::{Underlay, neighbour, node, peer, pod, remote, world};
use weft_tests::program::{Action, Hook, OVERLAY_PORT};

#[test]
fn a_pod_of_another_node_is_sent_through_the_tunnel() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for kind in [Kind::Tcp(SYN), Kind::Udp, Kind::EchoRequest, Kind::Sctp] {
            let port = if kind == Kind::EchoRequest { 0 } else { 80 };
            let sent = Datagram::new(kind, (pod(family), 40_000).into(), (remote(family), port).into());
            let frame = sent.link(SELF.link()).frame();
            let outcome = underlay.programs.run(Hook::FromPod, frame.as_slice())?;
            outcome.must_be(Reason::Tunnelled).with_context(|| format!("{kind:?} {family:?}"))?;
            assert_eq!(outcome.action, Action::Redirect);
            assert_eq!(outcome.bytes[14..], frame[14..], "the inner packet changed");
        }
    }
    assert_eq!(underlay.programs.flows()?, [], "a pod that talks with a pod needs no flow");
    Ok(())
}

#[test]
fn a_pod_cannot_speak_in_the_tunnel_s_name() -> Result<()> {
    let mut underlay = Underlay::set()?;
    for family in Family::BOTH {
        for dst in [peer(family), node(family), world(family)] {
            let sent = Datagram::new(Kind::Udp, (pod(family), 40_000).into(), (dst, OVERLAY_PORT).into());
            let frame = sent.clone().link(SELF.link()).frame();
            underlay
                .programs
                .run(Hook::FromPod, frame)?
                .must_be(Reason::TunnelSpoof)
                .with_context(|| dst.to_string())?;
            let options = sent.options().link(SELF.link()).frame();
            underlay.programs.run(Hook::FromPod, options)?.must_be(Reason::TunnelSpoof).context("behind options")?;
        }
        // Between pods that port is like any other.
        for (dst, due) in [(neighbour(family), Reason::Delivered), (remote(family), Reason::Tunnelled)] {
            let sent = Datagram::new(Kind::Udp, (pod(family), 40_000).into(), (dst, OVERLAY_PORT).into());
            underlay.programs.run(Hook::FromPod, sent.link(SELF.link()).frame())?.must_be(due)?;
        }
    }
    Ok(())
}

/// A packet of a pod of the other node to a pod of this one, as it comes out of the tunnel.
fn inner(family: Family) -> Datagram {
    let link = Link { src: OTHER.link().src, dst: SELF.link().dst };
    Datagram::new(Kind::Udp, (remote(family), 5000).into(), (pod(family), 80).into()).link(link)
}

#[test]
fn what_the_peer_s_pods_send_is_delivered_over_either_underlay() -> Result<()> {
    for outer in Family::BOTH {
        let mut tunnel = pods(Tunnel::lay(outer)?)?;
        for family in Family::BOTH {
            let reason = tunnel.send(Sender::Friend, &inner(family).frame())?;
            assert_eq!(reason, Reason::Delivered, "{family:?} over {outer:?}");
        }
    }
    Ok(())
}

#[test]
fn strangers_and_other_networks_are_refused() -> Result<()> {
    for outer in Family::BOTH {
        let mut tunnel = pods(Tunnel::lay(outer)?)?;
        for family in Family::BOTH {
            for sender in [Sender::Foreigner, Sender::Stranger] {
                let reason = tunnel.send(sender, &inner(family).frame())?;
                assert_eq!(reason, Reason::UnknownPeer, "{sender:?}: {family:?} over {outer:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_peer_speaks_for_its_own_pods_alone() -> Result<()> {
    for outer in Family::BOTH {
        let mut tunnel = pods(Tunnel::lay(outer)?)?;
        for family in Family::BOTH {
            for src in [neighbour(family), world(family), node(family), pod(family)] {
                let lie = inner(family).from((src, 5000).into());
                let reason = tunnel.send(Sender::Friend, &lie.frame())?;
                assert!(
                    [Reason::PeerSource, Reason::UnknownPeer].contains(&reason),
                    "{src} over {outer:?} was counted as {reason:?}"
                );
            }
            let own = inner(family).from((neighbour(family), 5000).into());
            assert_eq!(tunnel.send(Sender::Friend, &own.frame())?, Reason::PeerSource);
        }
    }
    Ok(())
}

#[test]
fn what_is_for_nobody_here_is_dropped() -> Result<()> {
    let mut tunnel = pods(Tunnel::lay(Family::V4)?)?;
    for family in Family::BOTH {
        for dst in [world(family), remote(family), peer(family)] {
            let astray = inner(family).to((dst, 80).into());
            assert_eq!(tunnel.send(Sender::Friend, &astray.frame())?, Reason::NoSuchPod, "to {dst}");
        }
    }
    Ok(())
}

#[test]
fn damaged_and_strange_packets_in_the_tunnel_are_dropped() -> Result<()> {
    let mut tunnel = pods(Tunnel::lay(Family::V4)?)?;
    for family in Family::BOTH {
        let honest = inner(family).frame();
        let mut long = honest.clone();
        let at = if family == Family::V4 { 16 } else { 18 };
        long[at] = 0x7f;
        assert_eq!(tunnel.send(Sender::Friend, &long)?, Reason::Malformed);
        let mut version = honest.clone();
        version[14] = 0xf5;
        assert_eq!(tunnel.send(Sender::Friend, &version)?, Reason::Malformed);
        let mut strange = honest.clone();
        strange[12..14].copy_from_slice(&[0x88, 0xcc]);
        assert!(tunnel.send(Sender::Friend, &strange)?.is_drop());
        // A tunnel in the tunnel is a packet like any other: its addresses decide.
        let port = |dst| (dst, OVERLAY_PORT).into();
        let nested = inner(family).to(port(pod(family))).payload(&[&[8, 0, 0, 0, 0, 0, 1, 0][..], &honest].concat());
        assert_eq!(tunnel.send(Sender::Friend, &nested.frame())?, Reason::Delivered);
        let astray = inner(family).to(port(peer(family))).payload(&[&[8, 0, 0, 0, 0, 0, 1, 0][..], &honest].concat());
        assert_eq!(tunnel.send(Sender::Friend, &astray.frame())?, Reason::NoSuchPod);
    }
    let lie = inner(Family::V6).to((SELF.v4.to_ipv6_mapped(), 80).into());
    assert_eq!(tunnel.send(Sender::Friend, &lie.frame())?, Reason::MappedAddr);
    Ok(())
}

/// Both pods in its maps. Their devices are elsewhere: what is delivered to them ends there.
fn pods(mut tunnel: Tunnel) -> Result<Tunnel> {
    for cast in [SELF, OTHER] {
        for addr in cast.addresses() {
            tunnel.programs.add(addr, cast.pod)?;
        }
    }
    Ok(tunnel)
}
