//! The figures: weft beside the reference plugins, a bare veth pair and what the kernel has, interleaved in one run.

mod across;
mod add_limits;
mod agent;
mod chain;
mod ends;
mod figure;
mod flood;
mod flows;
mod hand;
mod hostport;
mod kubernetes;
mod limits;
mod load;
mod parallel;
mod paths;
mod peers;
mod plot;
mod program;
mod relay;
mod requests;
mod statistics;
mod steps;
mod table;
mod tables;
pub mod traffic;
mod translate;
mod world;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::pod::Sandbox;
use crate::site::Site;

pub use figure::{Figure, Figures, Target};
pub use table::table;

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// ADD and DEL, one after another
    Requests,
    /// 100 ADDs and 100 DELs at once
    Parallel,
    /// Where the time of an ADD and a DEL goes
    Steps,
    /// From pod to pod on one node
    Paths,
    /// The program at a pod's interface
    Program,
    /// The agent's memory, processor time and start, and the size of the binaries
    Agent,
    /// From pod to pod across nodes by the overlay
    Overlay,
    /// From pod to pod across nodes by native routing
    Native,
    /// From a pod out into the world, with source NAT
    World,
    /// The programs at an uplink
    Translate,
    /// A million live flows
    Flows,
    /// Other nodes that come
    Peers,
    /// A pod that floods, and its neighbour
    Flood,
    /// Ports of the node that are pods', with up to 10,000 of them
    Hostport,
    /// What mappings and limits add to an ADD
    AddLimits,
    /// Rates that limited pods reach
    Limits,
    /// An agent in a cluster: start, memory, heartbeats
    Kubernetes,
}

/// What every group works with.
#[derive(Debug)]
struct Bench {
    site: Arc<Site>,
    quick: bool,
    /// Where the group of limits draws what it measured.
    plot: Option<PathBuf>,
    sandboxes: OnceCell<Vec<Sandbox>>,
}

/// Namespaces for pods: as many as the group that wants most of them takes.
const SANDBOXES: usize = 150;

impl Bench {
    /// The namespaces that all groups use in turn: made once, because removing one disturbs what is measured next.
    fn sandboxes(&self) -> Result<&[Sandbox]> {
        if let Some(sandboxes) = self.sandboxes.get() {
            return Ok(sandboxes);
        }
        progress(&format!("making {SANDBOXES} namespaces"));
        let made = (0..SANDBOXES).map(|_| Sandbox::on(Arc::clone(&self.site))).collect::<Result<_>>()?;
        Ok(self.sandboxes.get_or_init(|| made))
    }

    /// One of two numbers of rounds.
    fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// Everything that one run measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Kernel release.
    pub kernel: String,
    /// Whether it was the short run.
    pub quick: bool,
    /// What the run took.
    pub seconds: f64,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// One line for each group that could not be measured.
    pub failures: Vec<String>,
}

/// Measures these groups; a group that fails does not keep the others from being measured. Draws the limits, if told
/// where.
pub fn run(groups: &[Group], quick: bool, plot: Option<&Path>) -> Result<Report> {
    let started = Instant::now();
    let plot = plot.map(Path::to_owned);
    let bench = Bench { site: Site::open("weft-bench")?, quick, plot, sandboxes: OnceCell::new() };
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    for &group in groups {
        figures.begin(group);
        let measure = match group {
            Group::Requests => requests::measure,
            Group::Parallel => parallel::measure,
            Group::Steps => steps::measure,
            Group::Paths => paths::measure,
            Group::Program => program::measure,
            Group::Agent => agent::measure,
            Group::Overlay => across::overlay,
            Group::Native => across::native,
            Group::World => world::measure,
            Group::Translate => translate::measure,
            Group::Flows => flows::measure,
            Group::Peers => peers::measure,
            Group::Flood => flood::measure,
            Group::Hostport => hostport::measure,
            Group::AddLimits => add_limits::measure,
            Group::Limits => limits::measure,
            Group::Kubernetes => kubernetes::measure,
        };
        if let Err(error) = measure(&bench, &mut figures) {
            failures.push(format!("{group:?}: {error:#}"));
        }
    }
    let kernel = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    let seconds = started.elapsed().as_secs_f64();
    Ok(Report { kernel, quick, seconds, figures: figures.into_list(), failures })
}

#[expect(clippy::print_stderr, reason = "what happens now, for whoever waits for the table")]
fn progress(line: &str) {
    eprintln!("bench: {line}");
}
