//! ADD and DEL, one after another.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::chain::{self, Chain, Joined};
use super::statistics::{median, millis, percentile, turns};
use super::{Bench, Figures, Target, progress};

/// Attaches and detaches pods of every chain in turns.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let pods = bench.rounds(50, 15);
    let sandboxes = bench.sandboxes()?;
    progress(&format!("{pods} ADDs and DELs of weft and of the reference plugins"));
    let chains = [Chain::weft(&bench.site)?, Chain::ptp(&bench.site)?, Chain::full(&bench.site)?];
    // Each chain has pods of its own, and one before them that pays for what only the first one costs.
    for chain in &chains {
        let first = chain.netns().enter(|| chain.add(&sandboxes[0], pods))??;
        chain.netns().enter(|| chain.del(&first))??;
    }
    let mut adds = vec![Vec::new(); chains.len()];
    let mut dels = vec![Vec::new(); chains.len()];
    let mut spawns = Vec::new();
    let mut joined: Vec<(usize, Joined)> = Vec::new();
    for (round, places) in sandboxes.chunks(chains.len()).take(pods).enumerate() {
        spawns.push(spawn()?);
        for index in turns(round, chains.len()) {
            let (chain, sandbox) = (&chains[index], &places[index]);
            let (took, pod) = chain.netns().enter(|| timed(|| chain.add(sandbox, round)))??;
            settle();
            adds[index].push(took);
            joined.push((index, pod));
        }
    }
    for (index, pod) in &joined {
        let chain = &chains[*index];
        dels[*index].push(chain.netns().enter(|| timed(|| chain.del(pod)))??.0);
        settle();
    }
    figures.note("spawning /bin/true p50", median(&spawns), "ms");
    for (operation, times) in [("ADD", &adds), ("DEL", &dels)] {
        for (index, (chain, times)) in chains.iter().zip(times).enumerate() {
            let name = format!("{operation} p50, {}", chain.label);
            match (operation, index) {
                ("ADD", 0) => figures.aim(name, median(times), "ms", Target::AtMost(3.0)),
                _ => figures.note(name, median(times), "ms"),
            }
            figures.note(format!("{operation} p95, {}", chain.label), percentile(times, 95), "ms");
        }
    }
    let ratio = |times: &[Vec<f64>], other: usize| median(&times[0]) / median(&times[other]);
    figures.aim("ADD p50, weft / ptp", ratio(&adds, 1), "", Target::AtMost(0.5));
    figures.aim("ADD p50, weft / full chain", ratio(&adds, 2), "", Target::AtMost(0.1));
    figures.aim("DEL p50, weft / ptp", ratio(&dels, 1), "", Target::AtMost(1.0));
    figures.note("DEL p50, weft / full chain", ratio(&dels, 2), "");
    Ok(())
}

/// What running the smallest program costs, in milliseconds.
pub(super) fn spawn() -> Result<f64> {
    Ok(timed(|| chain::execute(&PathBuf::from("/bin/true"), &[], &[]))?.0)
}

/// Lets the kernel finish what a request has left to it, so that it does not count for the next one.
pub(super) fn settle() {
    thread::sleep(Duration::from_millis(30));
}

/// What a job takes in milliseconds, and its result.
pub(super) fn timed<T>(job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let started = Instant::now();
    let result = job()?;
    Ok((millis(started.elapsed()), result))
}
