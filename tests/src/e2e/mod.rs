//! User scenarios against a real cluster: pods ask pods, and their termination messages tell what came of it.
//!
//! Nothing outside the cluster has to reach a pod, no image but weft's own is needed, and all of it happens in one
//! namespace that is removed at the end.

mod check;
mod cluster;
mod manifest;
mod pods;
mod report;
mod scenario;
mod service;
mod stage;
mod weft;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

pub use report::{Line, Report, Verdict};
pub use scenario::names;

use cluster::Cluster;
use scenario::Scenario;
use stage::Stage;

/// What to run, and against what.
#[derive(Debug)]
pub struct Options {
    /// How to reach the cluster.
    pub kubeconfig: PathBuf,
    /// Image of the test pods; weft's own, as its `DaemonSet` names it, where none is given.
    pub image: Option<String>,
    /// Namespace of the test pods, which must not exist; one with a new name where none is given.
    pub namespace: Option<String>,
    /// Names of scenarios; all of them where there is none.
    pub only: Vec<String>,
    /// An address outside of the cluster that accepts connections.
    pub world: Option<SocketAddr>,
    /// How long weft may take to be ready on all nodes, before anything begins.
    pub wait: Duration,
    /// Leave the namespace as it is at the end.
    pub keep: bool,
}

/// Runs the scenarios, tells of each as soon as it is over, and removes what was made, also when interrupted.
pub async fn run(options: &Options, tell: impl Fn(&str)) -> Result<Report> {
    let chosen = scenario::choose(&options.only)?;
    let cluster = Cluster::find(options).await?;
    tell(&format!("{cluster}"));
    let stage = Stage::new(cluster, options)?;
    let outcome = tokio::select! {
        report = perform(&stage, &chosen, &tell) => report,
        () = interrupted() => Err(anyhow!("interrupted")),
    };
    if options.keep {
        tell(&format!("namespace {} is left: kubectl delete namespace {0}", stage.namespace()));
        return outcome;
    }
    // Whoever interrupts that as well does not want to wait.
    let removed = tokio::select! {
        removed = stage.remove() => removed,
        () = interrupted() => Err(anyhow!("interrupted: kubectl delete namespace {}", stage.namespace())),
    };
    match removed {
        Ok(()) => outcome,
        Err(error) => {
            tell(&format!("{error:#}"));
            outcome.and(Err(error))
        }
    }
}

async fn perform(stage: &Stage, chosen: &[&Scenario], tell: &impl Fn(&str)) -> Result<Report> {
    tell(&format!("namespace {}: starting servers", stage.namespace()));
    let cast = stage.begin().await?;
    let mut lines = Vec::new();
    for scenario in chosen {
        tell(&format!("{:<18} {}", scenario.name, scenario.what));
        let started = Instant::now();
        let verdict = match timeout(scenario::LIMIT, (scenario.run)(stage, &cast)).await {
            Ok(verdict) => verdict.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}"))),
            Err(_) => Verdict::Failed(format!("not over within {:?}", scenario::LIMIT)),
        };
        let line = Line::new(scenario.name, verdict, started.elapsed());
        tell(&format!("{:<18} {}", "", line.told()));
        lines.push(line);
    }
    ensure!(!lines.is_empty(), "no scenario ran");
    Ok(Report::new(stage.cluster().facts(), lines))
}

async fn interrupted() {
    let streams = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match streams {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        // Without them the default action ends the process.
        _ => std::future::pending().await,
    }
}

/// Whether it is the API server's state of the moment, and not what was asked of it.
fn is_passing(error: &anyhow::Error) -> bool {
    match error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>()) {
        Some(kube::Error::Api(status)) => status.code >= 500 || status.code == 429,
        Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => true,
        _ => false,
    }
}

/// Asks until there is an answer, whatever the API server's state; the last reason for there being none is told when
/// the time is over.
async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<Result<T, String>>) -> Result<T> {
    let (started, mut pause) = (Instant::now(), Duration::from_millis(200));
    loop {
        let why = match ask().await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => why,
            Err(error) if is_passing(&error) => format!("{error:#}"),
            Err(error) => return Err(error),
        };
        if started.elapsed() >= limit {
            return Err(anyhow!("not within {} s: {what}: {why}", limit.as_secs()));
        }
        tokio::time::sleep(pause).await;
        // Thirty pods that take their time would be a hundred and fifty requests a second.
        pause = (pause * 11 / 10).min(Duration::from_secs(1));
    }
}
