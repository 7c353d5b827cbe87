//! What the container runtime finds of weft on its node: the plugin, and the network's configuration.

mod conflist;
mod kept;
mod plugins;
mod removal;
mod round;
mod view;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::InstallConfig;
use crate::inotify::{self, Events};
use crate::run_dir::RunDir;
use crate::text;

use plugins::Plugins;
use round::Round;

pub(crate) use plugins::STAND_IN;
pub(crate) use removal::remove;
pub(crate) use round::rivals;
pub(crate) use view::View;

/// How often the files are looked at without an event: a directory may come later, or be replaced.
const POLL: Duration = Duration::from_millis(500);

/// The plugin that came with this agent.
pub(crate) fn source() -> PathBuf {
    plugins::source()
}

/// Puts the plugin in its place once, for one who may write where the agent may not: a directory of plugins often
/// belongs to the user who packed them. A failure is for the agent to tell, whose own try comes next.
pub(crate) fn put_plugin(directory: &Path) {
    let mut plugins = Plugins::new(directory);
    plugins.sweep();
    match plugins.restore() {
        Ok(()) => log::info!("{} is in its place", plugins.path().display()),
        Err(error) => log::warn!("{}", text::chain(&error)),
    }
}

/// Whether the plugin that came with this agent is in that directory, as it is to be.
pub(crate) fn has_plugin(directory: &Path) -> bool {
    Plugins::new(directory).are_usable()
}

/// Keeps plugin and configuration in place for as long as the agent runs, and leaves them when it stops.
#[derive(Debug)]
pub(crate) struct Keeper {
    config: InstallConfig,
    socket: PathBuf,
    view: Rc<View>,
}

impl Keeper {
    /// Touches nothing yet.
    pub(crate) fn new(config: InstallConfig, run_dir: &RunDir) -> Self {
        Self { config, socket: run_dir.socket(), view: Rc::default() }
    }

    /// What it has done, and what it has found.
    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view)
    }

    /// Puts the plugin in its place at once, the configuration once `ready` has been true, and both back whenever
    /// somebody takes them away or alters them.
    pub(crate) async fn run(self, mut ready: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
        let mut events = match Events::start("install") {
            Ok(events) => Some(events),
            Err(error) => {
                log::warn!("files for the container runtime are looked at only every {} ms: {error}", POLL.as_millis());
                None
            }
        };
        let directories: Vec<_> =
            [&self.config.bin_dir, &self.config.conf_dir].into_iter().flatten().cloned().collect();
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = Round::new(&self.config, &self.socket);
        let mut was_ready = false;
        loop {
            was_ready |= *ready.borrow_and_update();
            // Copying the plugin takes a while, and a disk may take longer.
            let settled = tokio::task::spawn_blocking(move || {
                let findings = round.settle(was_ready);
                (round, findings)
            });
            let Ok((settled, findings)) = settled.await else { return };
            round = settled;
            self.view.set(findings);
            if let Some(events) = &events {
                for directory in &directories {
                    events.watch(directory);
                }
            }
            // Whoever is to make it ready may be gone already, and is not waited for then.
            let changed = async {
                if was_ready || ready.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = polls.tick() => {}
                _ = inotify::next(events.as_mut()) => {}
                () = changed => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }
}
