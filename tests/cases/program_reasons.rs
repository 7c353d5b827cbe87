//! Every reason is one that some hook gives.

use std::collections::BTreeSet;

use super::program_limits;
use anyhow::{Context, Result};
use weft_abi::{Addr, Nat, Reason, Uplink};
use weft_tests::exec;
use weft_tests::netns::Netns;
use weft_tests::node::Family;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene, udp};
use weft_tests::program::tunnel::{Sender, Tunnel};
use weft_tests::program::underlay::{Underlay, neighbour, node, pod, remote, router, tuple, world};
use weft_tests::program::{Hook, IFINDEX, OVERLAY_PORT, Programs};
use weft_tests::site::Site;

use super::program_masquerade::to_world;

/// The kernel has no memory for an entry: nothing that a test can bring about.
const OUT_OF_REACH: [Reason; 1] = [Reason::FlowTable];

fn at_a_pod() -> Result<Vec<Reason>> {
    let mut scene = Scene::set()?;
    let own = SELF.link();
    let everyone = Link { dst: BROADCAST, ..own };
    let honest = udp(SELF.v4.into(), OTHER.v4.into())?;
    let with_ethertype = |bytes: [u8; 2]| [&honest[..12], &bytes, &honest[14..]].concat();
    let sent = [
        honest.clone(),
        udp(SELF.v4.into(), AWAY.v4.into())?,
        craft::arp(everyone, false, own.src, SELF.v4, weft_abi::GATEWAY_V4.into())?,
        honest[..honest.len() - 1].to_vec(),
        with_ethertype([0x88, 0xcc]),
        with_ethertype([0x81, 0x00]),
        craft::udp(Link { src: FOREIGN, ..own }, SELF.v4.into(), OTHER.v4.into(), 9, b"")?,
        udp(AWAY.v4.into(), OTHER.v4.into())?,
        craft::arp(everyone, true, own.src, OTHER.v4, AWAY.v4)?,
        udp(SELF.v6.into(), OTHER.v4.to_ipv6_mapped().into())?,
        craft::udp(everyone, SELF.v4.into(), OTHER.v4.into(), 9, b"")?,
        craft::router_advert(own, SELF.v6, AWAY.v6)?,
    ];
    let mut reasons = vec![scene.receives(honest)?.reason];
    for frame in sent {
        reasons.push(scene.sends(frame)?.reason);
    }
    Ok(reasons)
}

fn at_an_uplink() -> Result<Vec<Reason>> {
    let mut underlay = Underlay::set()?;
    let v4 = Family::V4;
    let sent = to_world(Kind::Udp, v4);
    let mut reasons = vec![underlay.leaves(sent.frame())?.reason];
    reasons.push(underlay.leaves(sent.from((node(v4), 7).into()).frame())?.reason);
    let unknown = Datagram::new(Kind::Udp, (world(v4), 7).into(), (pod(v4), 7).into());
    reasons.push(underlay.leaves(unknown.error(pod(v4), 3, 3, 0, 500))?.reason);
    // The protocol's ports cannot be changed, and another pod has them.
    let fixed = to_world(Kind::Sctp, v4);
    underlay.leaves(fixed.frame())?;
    reasons.push(underlay.leaves(fixed.from((neighbour(v4), fixed.src.port()).into()).frame())?.reason);
    let lie = Datagram::new(Kind::Udp, (remote(v4), 7).into(), (pod(v4), 7).into());
    reasons.push(underlay.comes(lie.frame())?.reason);
    // The way back to a pod that is gone.
    let left = sent.from((node(v4), 7).into());
    let gone = Nat { inside: Addr::from(router(v4)), ..Nat::default() };
    underlay.programs.put_nat(&tuple(&left), &gone)?;
    reasons.push(underlay.comes(left.answer().frame())?.reason);
    underlay.programs.add_uplink(IFINDEX, Uplink::default())?;
    reasons.push(underlay.leaves(sent.from((neighbour(v4), 9).into()).frame())?.reason);
    for (dst, port) in [(remote(v4), 9), (world(v4), OVERLAY_PORT)] {
        let frame = Datagram::new(Kind::Udp, (pod(v4), 9).into(), (dst, port).into()).link(SELF.link()).frame();
        reasons.push(underlay.programs.run(Hook::FromPod, frame)?.reason);
    }
    Ok(reasons)
}

/// A pod's packet on its way by the node's routes, without the stack.
fn by_route() -> Result<Reason> {
    let netns = Netns::with_loopback(&Site::of_tests()?.unique("b"))?;
    exec::ip_batch(
        &netns,
        &[
            "link add up0 index 42 type veth peer name far0",
            "addr add 192.0.2.11/24 dev up0",
            "link set far0 up",
            "link set up0 up",
            "neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev up0 nud permanent",
            "route add default via 192.0.2.1",
        ],
    )?;
    for name in ["all/forwarding", "default/forwarding", "lo/forwarding"] {
        weft_tests::kernel::set_sysctl(&netns, &format!("net/ipv4/conf/{name}"), "1")?;
    }
    let mut programs = Programs::load_for(Some(netns), true)?;
    programs.add(SELF.v4.into(), SELF.pod)?;
    programs.add_uplink(42, Uplink { v4: node(Family::V4).into(), ..Uplink::default() })?;
    let frame = to_world(Kind::Udp, Family::V4).link(SELF.link()).frame();
    let outcome = programs.run(Hook::FromPod, frame.as_slice())?;
    assert_eq!(outcome.bytes[22], frame[22] - 1, "a hop that is not counted");
    Ok(outcome.reason)
}

#[test]
fn every_reason_is_given_by_some_hook() -> Result<()> {
    let mut reasons = [at_a_pod()?, at_an_uplink()?].concat();
    reasons.push(by_route().context("by the node's routes")?);
    reasons.extend(program_limits::verdicts().context("at the shaper")?);
    let mut tunnel = Tunnel::lay(Family::V4)?;
    let inner = Datagram::new(Kind::Udp, (remote(Family::V4), 9).into(), (world(Family::V4), 9).into());
    reasons.push(tunnel.send(Sender::Stranger, &inner.frame())?);
    let seen: BTreeSet<_> = reasons.iter().chain(&OUT_OF_REACH).map(|reason| *reason as u32).collect();
    let never: Vec<_> = Reason::ALL.iter().filter(|reason| !seen.contains(&(**reason as u32))).collect();
    assert!(never.is_empty(), "no packet met {never:?}");
    Ok(())
}
