//! Sweeps again and again, as often as it is worth it.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::datapath::DatapathError;
use crate::text;

use super::Timeouts;
use super::report::{Report, Swept};
use super::sweep::{Now, Sweeper};
use super::tables::Tables;

/// The shortest pause between two sweeps.
const SHORTEST: Duration = Duration::from_secs(2);
/// The pause is so many times what the sweep took: 1 % of a core.
const SHARE: u32 = 100;
/// The same while a table is nearly full: 5 %.
const PRESSED_SHARE: u32 = 20;

/// Removes what is over from the tables of flows.
#[derive(Debug)]
pub(crate) struct Collector<T> {
    tables: Arc<T>,
    report: Arc<Report>,
}

impl<T: Tables + Send + Sync + 'static> Collector<T> {
    pub(crate) fn new(tables: Arc<T>, timeouts: Timeouts) -> Self {
        Self { tables, report: Arc::new(Report::new(timeouts)) }
    }

    /// Where it tells what it did.
    pub(crate) fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Sweeps until the agent stops, each time on a thread where nothing else waits.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let Self { tables, report } = self;
        let (mut sweeper, mut pause) = (Sweeper::default(), SHORTEST);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let (tables, timeouts) = (Arc::clone(&tables), *report.timeouts());
            let work = spawn_blocking(move || {
                let swept = timed(|| sweeper.sweep(&*tables, &timeouts, now()));
                (sweeper, swept)
            });
            let Ok((returned, swept)) = work.await else { return };
            sweeper = returned;
            match swept {
                Ok(swept) => {
                    pause = pause_after(swept.cpu, sweeper.is_pressed());
                    report.record(swept);
                }
                Err(error) => {
                    log::warn!("flows that are over stay for now: {}", text::chain(&error));
                    pause = SHORTEST * SHARE;
                }
            }
        }
    }
}

fn timed(sweep: impl FnOnce() -> Result<Swept, DatapathError>) -> Result<Swept, DatapathError> {
    let before = clock(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let swept = sweep()?;
    Ok(Swept { cpu: clock(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(before), ..swept })
}

fn now() -> Now {
    let clock = monotonic();
    Now { tick: weft_abi::tick(u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX)), clock }
}

/// The time as the programs keep it.
pub(crate) fn tick_now() -> u32 {
    now().tick
}

/// The time of the programs' records.
pub(super) fn monotonic() -> Duration {
    clock(ClockId::CLOCK_MONOTONIC)
}

fn clock(id: ClockId) -> Duration {
    // Only an unknown clock can fail, and these are there since Linux 2.6.12.
    clock_gettime(id).map(Duration::from).unwrap_or_default()
}

fn pause_after(cpu: Duration, pressed: bool) -> Duration {
    SHORTEST.max(cpu * if pressed { PRESSED_SHARE } else { SHARE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_costs_a_hundredth_of_a_core() {
        assert_eq!(pause_after(Duration::from_millis(1), false), Duration::from_secs(2));
        assert_eq!(pause_after(Duration::from_millis(800), false), Duration::from_secs(80));
        assert_eq!(pause_after(Duration::from_millis(800), true), Duration::from_secs(16));
        assert_eq!(pause_after(Duration::from_millis(1), true), Duration::from_secs(2));
    }
}
