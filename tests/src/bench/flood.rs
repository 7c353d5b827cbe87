//! A pod floods the world with SYNs while its neighbour makes connections.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_cni::mac::Mac;

use super::across::Ours;
use super::ends::{CONNECTIONS, Line, last_cpu, send};
use super::statistics::{median, number};
use super::{Bench, Figures, progress};
use crate::exec;
use crate::fabric::Routing;
use crate::kernel;
use crate::node::Family;
use crate::packet::FrameSocket;
use crate::packet::craft::Link;
use crate::packet::datagram::{Datagram, Kind, SYN};
use crate::pod::Pod;

/// Distinct connections that are asked for: more than the table of flows has room for.
const SYNS: u32 = 150_000;
/// Nobody's address in the world.
const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 200));
/// How long a turn takes, in milliseconds.
const TURN: usize = 300;

/// The neighbour's connections without and with the flood, in turns. The flood has a processor of its own where there
/// are two; what it takes from the neighbour is then what both have to share.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(10, 3);
    progress(&format!("a neighbour's connections beside a flood of SYNs, {rounds} rounds"));
    let ours = Ours::start(bench, Routing::Native)?;
    let (node, fabric) = (ours.fabric.node(1), &ours.fabric);
    exec::ip_batch(fabric.core().netns(), &[&format!("route add blackhole {NOBODY}/32")])?;
    let flooder = node.pod()?;
    let host = kernel::ip(node.netns(), &format!("link show {}", flooder.host_ifname()?))?;
    let host: Mac = host[0]["address"].as_str().context("no MAC")?.parse()?;
    let frames = frames(&flooder, host)?;
    let address = fabric.world_address(Family::V4);
    let line = Line::direct("neighbour", ours.pods[0].netns(), fabric.world(), address);
    let (mut calm, mut beside, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        calm.push(rate(line)?);
        let (floods, made) = flooding(&flooder, &frames, || rate(line))?;
        sent.push(floods / 1e3);
        beside.push(made);
    }
    figures.note("SYNs of the flood", median(&sent), "thousand/s");
    figures.note("neighbour's connections, calm", median(&calm), "/s");
    figures.note("neighbour's connections, beside the flood", median(&beside), "/s");
    figures.note("neighbour's connections, beside / calm", median(&beside) / median(&calm), "");
    let listed = node.weft_json(&["flow", "list", "--limit", "1"])?;
    let total = listed["total"].as_u64().context("no total in the list of flows")?;
    figures.note("flows in the table afterwards", number(total) / 1e3, "thousand");
    Ok(())
}

/// Connections a second.
fn rate(line: Line<'_>) -> Result<f64> {
    let turns = send(&[line], &CONNECTIONS, TURN)?;
    Ok(turns.first().map(|turns| median(turns)).unwrap_or_default())
}

/// Made beforehand: making them is no part of a flood.
fn frames(pod: &Pod, host: Mac) -> Result<Vec<Vec<u8>>> {
    let (link, from) = (Link { src: pod.mac()?, dst: host }, pod.address(Family::V4)?);
    let frame = |number: u32| {
        let [_, block, high, low] = number.to_be_bytes();
        let (from, to) = ((from, u16::from_be_bytes([high, low])).into(), (NOBODY, 80 + u16::from(block)).into());
        Datagram::new(Kind::Tcp(SYN), from, to).link(link).payload(b"").frame()
    };
    Ok((0..SYNS).map(frame).collect())
}

/// Runs a job beside a flood; SYNs a second, and the job's result.
fn flooding<T>(pod: &Pod, frames: &[Vec<u8>], job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let wire = FrameSocket::open(pod.netns(), "eth0")?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| -> Result<f64> {
            let mut cpus = CpuSet::new();
            cpus.set(last_cpu()).context("no such processor")?;
            sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on one processor")?;
            let (started, mut sent) = (Instant::now(), 0);
            for frame in frames.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                wire.send(frame)?;
                sent += 1;
            }
            Ok(number(sent) / started.elapsed().as_secs_f64())
        });
        let result = job();
        stop.store(true, Ordering::Relaxed);
        let rate = flood.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((rate, result?))
    })
}
