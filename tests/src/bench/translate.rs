//! What the programs at an uplink take for a packet of an established flow.
//!
//! A translated packet is another one, so a run on what the last one left would take another way. Each run therefore
//! gets the packet anew, and a run of an empty program comes in between: both are timed by the kernel alone, without
//! the system call around them, and neither finds its instructions and data as warm as under a packet a microsecond.
//! Where a translation can be made to give what it was given, the mean of many runs on one packet is told as well.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use weft_abi::{Addr, Peer, Reason, Uplink};
use weft_cni::mac::Mac;

use super::ends::family_name;
use super::statistics::{median, number};
use super::{Bench, Figures, Target, progress};
use crate::netns::Netns;
use crate::node::Family;
use crate::packet::craft::Link;
use crate::packet::datagram::{ACK, Datagram, Kind, SYN};
use crate::program::baseline::Empty;
use crate::program::scene::SELF;
use crate::program::underlay::{LINK, VNI, node, peer, pod, remote, world};
use crate::program::{Hook, IFINDEX, Programs};

/// Runs of one turn on one packet, where that is possible.
const REPEAT: u32 = 200_000;

/// Times both ways in a namespace in which no socket has a port.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let runs = bench.rounds(40_000, 8_000);
    progress(&format!("to_netdev, from_netdev and an empty program in turns, {runs} runs"));
    let rounds = bench.rounds(15, 5);
    let netns = Netns::with_loopback(&bench.site.unique("b"))?;
    netns.enter(|| {
        for family in Family::BOTH {
            single(family, runs, figures)?;
        }
        for family in Family::BOTH {
            many(family, rounds, figures)?;
            first(family, figures)?;
            before(family, runs / 4, figures)?;
        }
        Ok(())
    })?
}

/// The pod's node, which sends with these addresses, and a flow of the pod that both ends know.
fn established(family: Family, uplink: Uplink) -> Result<(Programs, Datagram)> {
    let mut programs = Programs::load()?;
    for addr in SELF.addresses() {
        programs.add(addr, SELF.pod)?;
    }
    programs.add_uplink(IFINDEX, uplink)?;
    let sent = Datagram::new(Kind::Tcp(SYN), (pod(family), 40_000).into(), (world(family), 443).into()).link(LINK);
    programs.run(Hook::ToNetdev, sent.frame())?.must_be(Reason::Translated)?;
    Ok((programs, Datagram { kind: Kind::Tcp(ACK), ..sent }))
}

fn single(family: Family, runs: usize, figures: &mut Figures) -> Result<()> {
    let [v4, v6] = Family::BOTH.map(|family| Addr::from(node(family)));
    let (mut programs, sent) = established(family, Uplink { v4, v6 })?;
    let left = sent.from(SocketAddr::new(node(family), sent.src.port()));
    let back = left.answer();
    let answer = Datagram { kind: Kind::Tcp(SYN | ACK), ..back.clone() };
    programs.run(Hook::FromNetdev, answer.frame())?.must_be(Reason::Translated)?;
    programs.run(Hook::ToNetdev, sent.frame())?.must_be(Reason::Translated)?;
    programs.run(Hook::FromNetdev, back.frame())?.must_be(Reason::Translated)?;
    let mut empty = Empty::load()?;
    for (hook, frame, limit) in [(Hook::ToNetdev, sent.frame(), 200.0), (Hook::FromNetdev, back.frame(), 250.0)] {
        let (mut all, mut base) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
        for _ in 0..runs {
            base.push(nanos(empty.time(&frame, 1)?)?);
            all.push(nanos(programs.time(hook, frame.as_slice(), 1)?)?);
        }
        let (all, base, title) = (median(&all), median(&base), format!("{}, {}", hook.name(), family_name(family)));
        figures.note(format!("{title}, empty program p50"), base, "ns");
        figures.note(format!("{title} p50"), all, "ns");
        figures.aim(format!("{title}, over the empty program"), all - base, "ns", Target::AtMost(limit));
    }
    Ok(())
}

/// The pod's address is the node's too: what `to_netdev` writes is what was there.
fn many(family: Family, rounds: usize, figures: &mut Figures) -> Result<()> {
    let [v4, v6] = Family::BOTH.map(|family| Addr::from(pod(family)));
    let (mut programs, sent) = established(family, Uplink { v4, v6 })?;
    let frame = sent.frame();
    let outcome = programs.run(Hook::ToNetdev, frame.as_slice())?;
    outcome.must_be(Reason::Translated)?;
    anyhow::ensure!(outcome.bytes == frame, "the packet was changed");
    let mut empty = Empty::load()?;
    let (mut all, mut base) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        base.push(nanos(empty.time(&frame, REPEAT)?)?);
        all.push(nanos(programs.time(Hook::ToNetdev, frame.as_slice(), REPEAT)?)?);
    }
    let name = format!("to_netdev, {}, over the empty program, again and again", family_name(family));
    figures.note(name, median(&all) - median(&base), "ns");
    Ok(())
}

/// What `from_pod` takes before: the same packet, and one to a pod of another node.
fn before(family: Family, runs: usize, figures: &mut Figures) -> Result<()> {
    let mut programs = Programs::load()?;
    for addr in SELF.addresses() {
        programs.add(addr, SELF.pod)?;
    }
    let tunnel = Peer { node: peer(Family::V4).into(), device: IFINDEX, vni: VNI, mtu: 1450, ..Peer::default() };
    for range in ["10.244.2.0/24", "fd00:10:244:2::/64"] {
        programs.add_peer(range, tunnel)?;
    }
    let link = Link { dst: Mac([0; 6]), ..SELF.link() };
    let mut empty = Empty::load()?;
    for (what, to, reason) in
        [("to the stack", world(family), Reason::Passed), ("into the overlay", remote(family), Reason::Tunnelled)]
    {
        let frame = Datagram::new(Kind::Tcp(ACK), (pod(family), 40_000).into(), (to, 443).into()).link(link).frame();
        programs.run(Hook::FromPod, frame.as_slice())?.must_be(reason)?;
        let (mut all, mut base) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
        for _ in 0..runs {
            base.push(nanos(empty.time(&frame, 1)?)?);
            all.push(nanos(programs.time(Hook::FromPod, frame.as_slice(), 1)?)?);
        }
        let name = format!("from_pod, {}, over the empty program, {what}", family_name(family));
        figures.note(name, median(&all) - median(&base), "ns");
    }
    Ok(())
}

/// The first packet of each of many flows, towards one server.
fn first(family: Family, figures: &mut Figures) -> Result<()> {
    let [v4, v6] = Family::BOTH.map(|family| Addr::from(node(family)));
    let (mut programs, sent) = established(family, Uplink { v4, v6 })?;
    let mut empty = Empty::load()?;
    let (mut all, mut base) = (Vec::new(), Vec::new());
    for port in 20_000..40_000 {
        let frame = Datagram { kind: Kind::Tcp(SYN), ..sent.from((pod(family), port).into()) }.frame();
        base.push(nanos(empty.time(&frame, 1)?)?);
        all.push(nanos(programs.time(Hook::ToNetdev, frame.as_slice(), 1)?)?);
    }
    let name = format!("to_netdev, {}, over the empty program, first packet of a flow", family_name(family));
    figures.note(name, median(&all) - median(&base), "ns");
    Ok(())
}

pub(super) fn nanos(nanos: u128) -> Result<f64> {
    Ok(number(u64::try_from(nanos).context("a run of centuries")?))
}
