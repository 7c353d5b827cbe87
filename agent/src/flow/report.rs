//! What the sweeps found and did.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Timeouts;
use super::state::State;

/// Why flows were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Their time was over.
    pub(crate) expired: u64,
    /// Half of them was missing: the kernel had evicted it for want of room.
    pub(crate) orphaned: u64,
    /// Their pod is gone.
    pub(crate) pod_gone: u64,
    /// The address that they were translated to is no longer the node's.
    pub(crate) address_gone: u64,
}

impl Removed {
    /// Each count with the word for it.
    pub(crate) const fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("expired", self.expired),
            ("orphaned", self.orphaned),
            ("pod-gone", self.pod_gone),
            ("address-gone", self.address_gone),
        ]
    }

    pub(super) fn all(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: Self) {
        self.expired += other.expired;
        self.orphaned += other.orphaned;
        self.pod_gone += other.pod_gone;
        self.address_gone += other.address_gone;
    }
}

/// One sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Entries of `flows` that were there.
    pub(crate) flows: u64,
    /// Entries of `nat` that were there.
    pub(crate) nat: u64,
    /// Flows that stay, by state.
    pub(crate) states: [u64; State::ALL.len()],
    pub(crate) removed: Removed,
    /// Processor time.
    pub(crate) cpu: Duration,
}

/// All sweeps so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) sweeps: u64,
    /// Processor time of all.
    pub(crate) cpu: Duration,
    pub(crate) removed: Removed,
    /// The newest.
    pub(crate) last: Swept,
}

/// Where the sweeps tell of themselves.
#[derive(Debug, Default)]
pub(crate) struct Report {
    timeouts: Timeouts,
    sum: Mutex<Snapshot>,
}

impl Report {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, sum: Mutex::default() }
    }

    /// What the sweeps go by.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        *self.lock()
    }

    pub(super) fn record(&self, swept: Swept) {
        let mut sum = self.lock();
        sum.sweeps += 1;
        sum.cpu += swept.cpu;
        sum.removed.add(swept.removed);
        sum.last = swept;
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
