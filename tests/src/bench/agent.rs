//! What the agent takes from its node, and how large the binaries are.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::chain::Chain;
use super::statistics::{median, millis, number};
use super::{Bench, Figures, Target, parallel, progress};
use crate::need;

/// Bytes of a MiB.
pub(super) const MIB: f64 = 1024.0 * 1024.0;

/// Starts the agent a few times, fills it, and watches it rest.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let starts = bench.rounds(7, 3);
    let rest = Duration::from_secs(if bench.quick { 3 } else { 10 });
    bench.sandboxes()?;
    progress(&format!("{starts} starts of the agent, then {rest:?} of rest with {} endpoints", parallel::PODS));
    let chain = Chain::weft(&bench.site)?;
    let node = chain.node()?;
    let mut ready = Vec::new();
    for _ in 0..starts {
        node.stop_agent(Signal::SIGTERM)?;
        ready.push(millis(node.start_agent()?));
    }
    figures.aim("ready after start, p50", median(&ready), "ms", Target::AtMost(300.0));

    let pid = node.agent_pid()?;
    figures.note("RSS without endpoints", resident(pid)?, "MiB");
    let (_, pods) = parallel::add_all(bench, &chain)?;
    let name = format!("RSS with {} endpoints", parallel::PODS);
    figures.aim(name, resident(pid)?, "MiB", Target::AtMost(15.0));
    // What ADDs left to be done later is no idling.
    std::thread::sleep(Duration::from_secs(1));
    let before = processor_time(pid)?;
    std::thread::sleep(rest);
    let used = processor_time(pid)?.saturating_sub(before);
    figures.aim("processor time at rest", millis(used) / rest.as_secs_f64(), "ms/s", Target::AtMost(1.0));
    parallel::del_all(&chain, &pods)?;
    let again = node.stop_agent(Signal::SIGTERM).and_then(|_| node.start_agent())?;
    figures.note("ready after a restart", millis(again), "ms");

    figures.aim("size of weft-cni", size("weft-cni")? / 1e6, "MB", Target::AtMost(5.0));
    figures.note("size of weft-agent", size("weft-agent")? / 1e6, "MB");
    figures.note("size of weft", size("weft")? / 1e6, "MB");
    Ok(())
}

/// Resident memory in MiB.
pub(super) fn resident(pid: u32) -> Result<f64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory so far, in MiB.
pub(super) fn peak(pid: u32) -> Result<f64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, what: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).with_context(|| format!("no {what}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{what} is no number"))?;
    Ok(number(kib * 1024) / MIB)
}

/// Time on a processor, of all threads that live.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("list a process's threads")?;
    let mut total = Duration::ZERO;
    for thread in threads {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let nanos = text.split(' ').next().and_then(|field| field.parse().ok()).context("no time in schedstat")?;
        total += Duration::from_nanos(nanos);
    }
    Ok(total)
}

/// Size of a release binary in bytes.
fn size(name: &str) -> Result<f64> {
    let path = need::binary(name)?;
    Ok(number(fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.len()))
}
