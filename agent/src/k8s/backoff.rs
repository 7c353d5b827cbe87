//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubles from attempt to attempt. Each wait is of random length between half and whole: thousands of agents that lost
/// one server do not come back to it at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const FIRST: Duration = Duration::from_millis(100);
    pub(super) const MOST: Duration = Duration::from_secs(10);

    pub(super) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// What was tried has worked.
    pub(super) const fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    pub(super) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(Self::MOST);
        // Every new state of the hasher has other keys.
        let random = RandomState::new().build_hasher().finish();
        let part = u32::try_from(random % 1024).unwrap_or_default();
        whole / 2 + whole / 2 * part / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_never_exceed_it() {
        let mut backoff = Backoff::new();
        for round in 0..40 {
            let whole = (Backoff::FIRST * 2_u32.pow(round.min(7))).min(Backoff::MOST);
            let wait = backoff.wait();
            assert!(wait >= whole / 2 && wait <= whole, "{round}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= Backoff::FIRST);
    }
}
