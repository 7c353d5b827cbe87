//! What the container runtime finds of weft on its node: the plugin, and the network's configuration.

mod view;

use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::watch;

use crate::config::InstallConfig;
use crate::run_dir::RunDir;

pub(crate) use view::View;

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
        let _ = ready.wait_for(|ready| *ready).await;
        self.view.set_conflist(self.config.conf_dir.as_ref().map(|dir| dir.join(&self.socket)));
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
