//! A million live flows beside a thousand: what a packet, a sweep and the tables cost.
//!
//! Two agents make the maps. They rest while flows are written into both of each flow's tables and while the program
//! at the uplink, loaded once more for the same maps, is run on their packets; see [`super::translate`] for how.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_abi::map;

use super::agent::{MIB, resident};
use super::ends::family_name;
use super::statistics::median;
use super::tables::{Flows, ToNetdev, memory, now};
use super::translate::nanos;
use super::{Bench, Figures, Target, progress};
use crate::fabric::{Fabric, Layout, Routing};
use crate::node::{Attach, Family, Node};
use crate::pod::Pod;
use crate::program::baseline::Empty;
use crate::traffic::stream;

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// Room for a million flows of which the kernel is to evict none.
const ROOM: u32 = 1_500_000;
/// Where the agent tells its metrics.
const METRICS: &str = "127.0.0.1:9850";
/// Packets of any flow in a round; they fit a second.
const SAMPLE: u32 = 20_000;

/// A node whose agent rests, and its flows.
struct Filled {
    fabric: Fabric,
    _pod: Pod,
    flows: Flows,
    program: ToNetdev,
}

impl Filled {
    fn set(bench: &Bench, count: u32, layout: Layout) -> Result<Self> {
        let fabric = Fabric::lay(&bench.site, layout.nodes(1))?;
        fabric.start_agents()?;
        let node = fabric.node(1);
        let pod = node.pod()?;
        node.stop_agent(Signal::SIGTERM)?;
        let flows = Flows::new(pod.address(Family::V4)?, fabric.member(1).address(Family::V4), count);
        flows.write(&node.pins(), now()?)?;
        let program = ToNetdev::load(&node.pins())?;
        Ok(Self { fabric, _pod: pod, flows, program })
    }

    fn node(&self) -> &Node {
        self.fabric.node(1)
    }
}

pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    progress(&format!("{MANY} and {FEW} flows, each written into both tables"));
    let layout = || Layout::new(Routing::Native, Attach::preferred());
    let mut few = Filled::set(bench, FEW, layout())?;
    let big = layout().flag(&format!("--flow-table-size={ROOM}")).flag(&format!("--listen={METRICS}"));
    let mut many = Filled::set(bench, MANY, big)?;
    same_flow(bench, &mut few, &mut many, figures)?;
    any_flow(bench, &mut few, &mut many, figures)?;
    sweep(bench, &many, figures)?;
    for (filled, room) in [(&few, weft_abi::FLOWS_MAX), (&many, ROOM)] {
        let pins = filled.node().pins();
        let tables = memory(&pins.join(map::FLOWS))? + memory(&pins.join(map::NAT))?;
        figures.note(format!("memory of flows and nat with room for {room}"), tables / MIB, "MiB");
        let mut all = 0.0;
        for entry in std::fs::read_dir(&pins).context("list the pinned maps")? {
            let path = entry?.path();
            all += if path.is_file() { memory(&path)? } else { 0.0 };
        }
        figures.note(format!("memory of all maps with room for {room} flows"), all / MIB, "MiB");
    }
    Ok(())
}

/// Packets of one flow, again and again: what the size of the table itself costs.
fn same_flow(bench: &Bench, few: &mut Filled, many: &mut Filled, figures: &mut Figures) -> Result<()> {
    let runs = bench.rounds(30_000, 8_000);
    progress(&format!("to_netdev on one flow of each, {runs} runs"));
    let mut turns = Turns::new()?;
    let frames = [few.flows.frame(FEW / 2), many.flows.frame(MANY / 2)];
    for _ in 0..runs {
        turns.run(few, many, [&frames[0], &frames[1]])?;
    }
    turns.tell("one flow's packets", figures);
    Ok(())
}

/// Packets of flows at random: with a million, none finds its flow at hand. All were seen in this second, so that no
/// packet has to write that down.
fn any_flow(bench: &Bench, few: &mut Filled, many: &mut Filled, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(4, 1);
    progress(&format!("to_netdev on {SAMPLE} packets of any flow of each, {rounds} rounds"));
    let mut turns = Turns::new()?;
    for round in 0..rounds {
        // A prime far from a divisor of either leads through all of them without an order.
        let picks = (0..SAMPLE).map(|pick| (pick + u32::try_from(round).unwrap_or_default()).wrapping_mul(611_953));
        let frames: Vec<_> = picks.map(|pick| [few.flows.frame(pick % FEW), many.flows.frame(pick % MANY)]).collect();
        // Writing a million takes a second or two.
        let second = now()? + 4;
        for filled in [&few, &many] {
            filled.flows.see(&filled.node().pins(), second)?;
        }
        while now()? < second {
            thread::sleep(Duration::from_millis(1));
        }
        for [near, far] in &frames {
            turns.run(few, many, [near, far])?;
        }
        ensure!(now()? == second, "{SAMPLE} packets took more than a second");
    }
    turns.tell("packets of any flow", figures);
    Ok(())
}

/// Runs of the empty program and of the one at the uplink, over few flows and over many.
struct Turns {
    empty: Empty,
    base: Vec<f64>,
    few: Vec<f64>,
    many: Vec<f64>,
}

impl Turns {
    fn new() -> Result<Self> {
        Ok(Self { empty: Empty::load()?, base: Vec::new(), few: Vec::new(), many: Vec::new() })
    }

    fn run(&mut self, few: &mut Filled, many: &mut Filled, frames: [&[u8]; 2]) -> Result<()> {
        self.base.push(nanos(self.empty.time(frames[0], 1)?)?);
        self.few.push(nanos(few.program.time(frames[0])?)?);
        self.many.push(nanos(many.program.time(frames[1])?)?);
        Ok(())
    }

    fn tell(&self, what: &str, figures: &mut Figures) {
        let base = median(&self.base);
        let (few, many) = (median(&self.few) - base, median(&self.many) - base);
        let title = format!("to_netdev over the empty program, {}, {what}", family_name(Family::V4));
        figures.note(format!("{title}, {FEW} flows"), few, "ns");
        figures.note(format!("{title}, {MANY} flows"), many, "ns");
        figures.aim(format!("{what}, {MANY} / {FEW} flows"), many / few, "", Target::AtMost(1.3));
    }
}

/// The agent's own sweep over the million. A fresh agent knows nothing of them, so its first one is a whole one.
fn sweep(bench: &Bench, many: &Filled, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(5, 1);
    progress(&format!("{rounds} sweeps over {MANY} flows"));
    let node = many.node();
    let (mut times, mut before, mut after, mut ready) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ready.push(node.start_agent()?.as_secs_f64() * 1e3);
        let pid = node.agent_pid()?;
        before.push(resident(pid)?);
        let started = Instant::now();
        let (page, swept) = loop {
            let page = metrics(node)?;
            let swept = sum(&page, "weft_flow_sweeps_total");
            if swept >= 1.0 {
                break (page, swept);
            }
            ensure!(started.elapsed() < Duration::from_secs(60), "no sweep");
            thread::sleep(Duration::from_millis(20));
        };
        let live = sum(&page, "weft_flows{");
        ensure!((live - f64::from(MANY)).abs() < 1.0, "{live} flows are left of {MANY} after {swept} sweeps");
        times.push(sum(&page, "weft_flow_sweep_cpu_seconds ") * 1e3);
        after.push(resident(pid)?);
        node.stop_agent(Signal::SIGTERM)?;
    }
    figures.aim("processor time of a whole sweep", median(&times), "ms", Target::AtMost(1000.0));
    figures.note(format!("agent ready with {MANY} flows"), median(&ready), "ms");
    figures.note("agent's RSS before the sweep", median(&before), "MiB");
    figures.note("agent's RSS after the sweep", median(&after), "MiB");
    Ok(())
}

fn metrics(node: &Node) -> Result<String> {
    let mut stream = node.netns().enter(|| stream::connect(METRICS.parse()?))??;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").context("ask for metrics")?;
    let mut page = String::new();
    stream.read_to_string(&mut page).context("read metrics")?;
    Ok(page)
}

/// The sum of all samples that begin like that.
fn sum(page: &str, beginning: &str) -> f64 {
    let samples = page.lines().filter(|line| line.starts_with(beginning));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_family_add_up() {
        let page = "weft_flows{state=\"a\"} 2\nweft_flows{state=\"b\"} 3\nweft_flows_removed_total{} 7\n";
        assert!((sum(page, "weft_flows{") - 5.0).abs() < 1e-9);
    }
}
