//! What the server's threads and its test share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::authority::Authority;
use super::fault::Faults;
use super::query::Ask;
use super::store::Store;

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) authority: Authority,
    pub(super) tokens: BTreeSet<String>,
    /// How often was asked for what.
    pub(super) asked: BTreeMap<Ask, u64>,
    /// What may be asked for; everything if it is not said.
    pub(super) granted: Option<BTreeSet<Ask>>,
    /// Method and address of each request, in their order.
    pub(super) log: Vec<String>,
    /// Open streams.
    pub(super) streams: usize,
    /// Seconds between bookmarks.
    pub(super) bookmark: Duration,
}

/// Tells everyone who waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals {
    /// Rises with every change of objects and faults.
    pub(super) changes: u64,
    /// Connections that were made before it rose end.
    pub(super) connections: u64,
    /// Streams that were opened before it rose end with 410.
    pub(super) streams: u64,
}

/// [`State`] and its signals.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) signals: watch::Sender<Signals>,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), signals: watch::Sender::new(Signals::default()) })
    }

    /// The state, for a moment.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes whoever waits.
    pub(super) fn change<T>(&self, job: impl FnOnce(&mut State) -> T) -> T {
        let result = job(&mut self.state());
        self.wake();
        result
    }

    /// Wakes whoever waits for a change.
    pub(super) fn wake(&self) {
        self.signals.send_modify(|signals| signals.changes += 1);
    }
}
