//! How many requests of each kind, how they ended, how long they took.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of the histogram, in seconds: an ADD takes a few milliseconds.
pub(super) const BOUNDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// One kind of request.
#[derive(Clone, Debug, Default)]
pub(super) struct VerbStats {
    /// By HTTP status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests up to each bound and above the one before it.
    pub(super) buckets: [u64; BOUNDS.len()],
    pub(super) seconds: f64,
    pub(super) count: u64,
}

/// All kinds.
#[derive(Debug, Default)]
pub(crate) struct RequestStats {
    verbs: RefCell<BTreeMap<&'static str, VerbStats>>,
}

impl RequestStats {
    pub(crate) fn observe(&self, verb: &'static str, status: u16, took: Duration) {
        let mut verbs = self.verbs.borrow_mut();
        let seen = verbs.entry(verb).or_default();
        *seen.statuses.entry(status).or_default() += 1;
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            seen.buckets[bucket] += 1;
        }
        seen.seconds += seconds;
        seen.count += 1;
    }

    pub(super) fn snapshot(&self) -> BTreeMap<&'static str, VerbStats> {
        self.verbs.borrow().clone()
    }
}
