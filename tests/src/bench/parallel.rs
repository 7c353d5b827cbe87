//! A hundred requests at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::chain::{Chain, Joined};
use super::statistics::{median, median_ratio, millis, turns};
use super::{Bench, Figures, Target, progress};

/// Pods that come and go together.
pub(super) const PODS: usize = 100;

/// So that what the kernel has still to do for one batch does not count for the next.
const PAUSE: Duration = Duration::from_millis(300);

/// Attaches and detaches all pods at once, weft and the reference plugin in turns.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(4, 2);
    bench.sandboxes()?;
    progress(&format!("{PODS} ADDs and {PODS} DELs at once, {rounds} rounds"));
    let chains = [Chain::weft(&bench.site)?, Chain::ptp(&bench.site)?];
    let mut adds = vec![Vec::new(); chains.len()];
    let mut dels = vec![Vec::new(); chains.len()];
    for round in 0..rounds {
        for index in turns(round, chains.len()) {
            let (took, pods) = add_all(bench, &chains[index])?;
            adds[index].push(took);
            thread::sleep(PAUSE);
            dels[index].push(del_all(&chains[index], &pods)?);
            thread::sleep(PAUSE);
        }
    }
    for (operation, times, limit) in [("ADD", &adds, 1.0 / 2.0), ("DEL", &dels, 1.0 / 3.0)] {
        for (chain, times) in chains.iter().zip(times) {
            figures.note(format!("{PODS} {operation}s, {}", chain.label), median(times), "ms");
        }
        let ratio = median_ratio(&times[0], &times[1]);
        figures.aim(format!("{PODS} {operation}s, weft / ptp"), ratio, "", Target::AtMost(limit));
    }
    Ok(())
}

/// Attaches every pod; what all of it took, in milliseconds, and the pods.
pub(super) fn add_all(bench: &Bench, chain: &Chain) -> Result<(f64, Vec<Joined>)> {
    let sandboxes = bench.sandboxes()?;
    at_once(chain, |number| chain.add(&sandboxes[number], number))
}

/// Detaches every pod; what all of it took, in milliseconds.
pub(super) fn del_all(chain: &Chain, pods: &[Joined]) -> Result<f64> {
    Ok(at_once(chain, |number| chain.del(&pods[number]))?.0)
}

/// From the start of the first to the end of the last, in milliseconds.
fn at_once<T: Send>(chain: &Chain, job: impl Fn(usize) -> Result<T> + Sync) -> Result<(f64, Vec<T>)> {
    let gate = Barrier::new(PODS);
    let run = |number| {
        gate.wait();
        let begun = Instant::now();
        let result = job(number);
        (begun, Instant::now(), result)
    };
    let ended: Vec<_> = chain
        .netns()
        .enter(|| {
            thread::scope(|scope| {
                let run = &run;
                let threads: Vec<_> = (0..PODS).map(|number| scope.spawn(move || run(number))).collect();
                threads.into_iter().map(|thread| thread.join().ok()).collect::<Option<Vec<_>>>()
            })
        })?
        .context("a thread that ran a request panicked")?;
    let begun = ended.iter().map(|(begun, _, _)| *begun).min().context("no request")?;
    let end = ended.iter().map(|(_, end, _)| *end).max().context("no request")?;
    let results = ended.into_iter().map(|(_, _, result)| result).collect::<Result<_>>()?;
    Ok((millis(end - begun), results))
}
