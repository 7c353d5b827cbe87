//! One request at a time for an attachment; different ones side by side.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

type Held = Rc<RefCell<HashMap<String, Arc<Mutex<()>>>>>;

/// Locks by host interface name; one exists only while someone holds it or waits for it.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Held,
}

/// Keeps every other request for its attachment waiting.
#[derive(Debug)]
pub(super) struct Guard {
    held: Held,
    name: String,
    lock: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Waits for its turn, in the order of the calls.
    pub(super) async fn acquire(&self, name: &str) -> Guard {
        let mutex = Arc::clone(self.held.borrow_mut().entry(name.to_owned()).or_default());
        let mut guard = Guard { held: Rc::clone(&self.held), name: name.to_owned(), lock: None };
        guard.lock = Some(mutex.lock_owned().await);
        guard
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.lock = None;
        let mut held = self.held.borrow_mut();
        // Whoever waits has a clone of its own.
        if held.get(&self.name).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            held.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn the_same_name_waits_and_nothing_stays() {
        let locks = Locks::default();
        let first = locks.acquire("a").await;
        let _other = timeout(SOON, locks.acquire("b")).await.unwrap();
        assert!(timeout(SOON, locks.acquire("a")).await.is_err());
        assert_eq!(locks.held.borrow().len(), 2, "a waiter that gave up took no lock along");
        drop(first);
        timeout(SOON, locks.acquire("a")).await.unwrap();
        assert_eq!(locks.held.borrow().len(), 1);
    }
}
