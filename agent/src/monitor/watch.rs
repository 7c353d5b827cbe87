//! Reads what the programs tell, and passes it on.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch as watcher;
use weft_abi::EventKind;

use crate::api::App;
use crate::datapath::EventStream;
use crate::kernel::Kernel;
use crate::text;

use super::drops;

/// A flood of records is looked at this often; what does not fit the ring buffer meanwhile is only counted.
const PACE: Duration = Duration::from_millis(100);

/// Passes the datapath's records on until the agent stops. Costs nothing while there are none.
pub(crate) async fn watch<K: Kernel>(mut events: EventStream, app: Rc<App<K>>, mut stopping: watcher::Receiver<bool>) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            read = events.next_batch(&mut batch) => if let Err(error) = read {
                return log::warn!("drops are only counted from now on: {}", text::chain(&error));
            },
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let clock = Clock::now();
        for event in batch.drain(..) {
            if event.kind == EventKind::Trace as u8 {
                app.tracer.record(&event, clock);
            } else {
                app.drops.record(drops::describe(&event, clock, app.endpoints.by_ifindex(event.ifindex)));
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) unix: Duration,
    pub(super) monotonic: Duration,
}

impl Clock {
    fn now() -> Self {
        Self {
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            monotonic: clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default(),
        }
    }

    /// Microseconds since the Unix epoch at a moment of the monotonic clock.
    pub(super) fn unix_us(self, monotonic_ns: u64) -> u64 {
        let ago = self.monotonic.saturating_sub(Duration::from_nanos(monotonic_ns));
        u64::try_from(self.unix.saturating_sub(ago).as_micros()).unwrap_or(u64::MAX)
    }
}
