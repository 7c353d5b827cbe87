//! Hastened RCU grace periods, for as long as somebody needs them.
//!
//! Creating a TCX link, and removing a device that has one, waits for an RCU grace period under the kernel's rtnl
//! lock: 8 to 16 ms each, in which nobody on the node can touch a device. While `/sys/kernel/rcu_expedited` is 1 such
//! a wait takes microseconds (kernel documentation, `RCU/Design/Expedited-Grace-Periods`).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nonzero when every grace period of the node is expedited.
const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// Opens windows in which grace periods are hastened.
///
/// A value that is not 0 belongs to somebody else and is left alone; what is found as 0 becomes 0 again when the last
/// window closes, or at the next start of an agent that was killed inside one: a note in the run directory says so.
#[derive(Clone, Debug)]
pub struct Expedite {
    shared: Option<Arc<Shared>>,
}

/// An open window; grace periods are hastened until the last one is dropped.
#[derive(Debug)]
#[must_use = "the window closes when it is dropped"]
pub struct Window {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    switch: PathBuf,
    note: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    windows: usize,
    ours: bool,
    problem: Option<io::Error>,
}

impl Expedite {
    /// Undoes what a killed agent left. With `enabled` false no window ever changes anything.
    pub fn new(enabled: bool, run_dir: &Path) -> Self {
        Self::with_switch(enabled, run_dir, Path::new(SWITCH))
    }

    fn with_switch(enabled: bool, run_dir: &Path, switch: &Path) -> Self {
        let shared = Shared {
            switch: switch.to_owned(),
            note: run_dir.join("rcu-expedited"),
            state: Mutex::new(State::default()),
        };
        let leftover = if shared.note.exists() { shared.restore() } else { Ok(()) };
        if !enabled {
            return Self { shared: None };
        }
        // Opened, not written: a read-only /sys shows here.
        let problem = leftover.and_then(|()| OpenOptions::new().write(true).open(switch).map(drop)).err();
        shared.state().problem = problem;
        Self { shared: Some(Arc::new(shared)) }
    }

    /// Opens a window. Where the switch cannot be turned, the work inside is slow but right.
    pub fn window(&self) -> Window {
        if let Some(shared) = &self.shared {
            shared.enter();
        }
        Window { shared: self.shared.clone() }
    }

    /// Why windows have no effect, as a sentence for people.
    pub fn problem(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let state = shared.state();
        state.problem.as_ref().map(|error| {
            format!(
                "attaching and removing pods is slow (about 30 ms each), because {} cannot be written: {error}; make \
                 it writable, or set expedite-rcu = false to accept that",
                shared.switch.display()
            )
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.leave();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) {
        let mut state = self.state();
        if state.windows == 0 {
            let turned = self.turn_on();
            state.ours = matches!(turned, Ok(true));
            state.problem = turned.err();
        }
        state.windows += 1;
    }

    fn leave(&self) {
        let mut state = self.state();
        state.windows -= 1;
        if state.windows == 0 && state.ours {
            state.problem = self.restore().err();
            state.ours = false;
        }
    }

    /// Whether the switch was off and is on now.
    fn turn_on(&self) -> io::Result<bool> {
        let mut switch = OpenOptions::new().write(true).open(&self.switch)?;
        if fs::read_to_string(&self.switch)?.trim() != "0" {
            return Ok(false);
        }
        fs::write(&self.note, "0\n")?;
        switch.write_all(b"1")?;
        Ok(true)
    }

    fn restore(&self) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.switch)?.write_all(b"0")?;
        fs::remove_file(&self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new(value: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("switch"), value).unwrap();
            Self { dir }
        }

        fn expedite(&self) -> Expedite {
            Expedite::with_switch(true, self.dir.path(), &self.dir.path().join("switch"))
        }

        fn value(&self) -> String {
            fs::read_to_string(self.dir.path().join("switch")).unwrap()[..1].to_owned()
        }

        fn noted(&self) -> bool {
            self.dir.path().join("rcu-expedited").exists()
        }
    }

    #[test]
    fn the_last_window_restores() {
        let fixture = Fixture::new("0");
        let expedite = fixture.expedite();
        let first = expedite.window();
        let second = expedite.clone().window();
        assert_eq!(fixture.value(), "1");
        assert!(fixture.noted());
        drop(first);
        assert_eq!(fixture.value(), "1");
        drop(second);
        assert_eq!(fixture.value(), "0");
        assert!(!fixture.noted());
    }

    #[test]
    fn what_others_turned_on_stays_on() {
        let fixture = Fixture::new("1");
        drop(fixture.expedite().window());
        assert_eq!(fixture.value(), "1");
        assert!(!fixture.noted());
    }

    #[test]
    fn a_killed_agents_window_is_closed_at_the_next_start() {
        let fixture = Fixture::new("0");
        std::mem::forget(fixture.expedite().window());
        assert_eq!(fixture.value(), "1");
        let next = fixture.expedite();
        assert_eq!(fixture.value(), "0");
        assert!(!fixture.noted());
        assert!(next.problem().is_none());
    }

    #[test]
    fn a_missing_switch_is_a_problem_and_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let expedite = Expedite::with_switch(true, dir.path(), &dir.path().join("none"));
        assert!(expedite.problem().unwrap().contains("cannot be written"));
        drop(expedite.window());
    }

    #[test]
    fn disabled_means_untouched() {
        let fixture = Fixture::new("0");
        let expedite = Expedite::with_switch(false, fixture.dir.path(), &fixture.dir.path().join("switch"));
        let window = expedite.window();
        assert_eq!(fixture.value(), "0");
        assert!(expedite.problem().is_none());
        drop(window);
    }
}
