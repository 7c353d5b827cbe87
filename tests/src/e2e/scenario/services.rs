//! Addresses of services.

use anyhow::Result;

use super::{families, passed};
use crate::e2e::check::{Asking, Check, Client};
use crate::e2e::manifest::{PORT, PodPlan, ServicePlan};
use crate::e2e::report::Verdict;
use crate::e2e::service::Made;
use crate::e2e::stage::{Cast, Stage};

/// Asks every address of a service of these pods.
fn every(made: &Made, names: &[&str], client: &Client) -> Vec<Check> {
    made.addresses.iter().flat_map(|address| Check::service(names, *address, PORT, client)).collect()
}

pub(super) async fn cluster_ip(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let neighbour =
        stage.service(&ServicePlan { name: "neighbour", label: ("server", "a2"), ..ServicePlan::default() }).await?;
    // The node's stack carries these both ways; the pod behind still sees who asked.
    let mut checks = every(&neighbour, &["a2"], &Client::Asker);
    let nodes = stage.places().len();
    if nodes > 1 {
        let other =
            stage.service(&ServicePlan { name: "other", label: ("server", "b1"), ..ServicePlan::default() }).await?;
        let both =
            stage.service(&ServicePlan { name: "both", label: ("group", "web"), ..ServicePlan::default() }).await?;
        checks.extend(every(&other, &["b1"], &Client::Asker));
        checks.extend(every(&both, &["a1", "b1"], &Client::Asker));
    }
    let hosts = checks.iter().cloned().map(Check::seeing_anybody).collect();
    let mut asking = vec![Asking::pod(0, checks), Asking::host(0, hosts)];
    if nodes > 1 {
        asking.push(Asking::pod(1, every(&neighbour, &["a2"], &Client::Asker)));
        asking.push(Asking::host(1, every(&neighbour, &["a2"], &Client::Anybody)));
    }
    let right = stage.ask(asking).await? + itself(stage).await?;
    Ok(passed(format!("{right} answers from pods and nodes over TCP and UDP, {}", families(&cast.on(0).addresses))))
}

/// A pod asks a service that has no other pod than itself.
async fn itself(stage: &Stage) -> Result<usize> {
    let made =
        stage.service(&ServicePlan { name: "itself", label: ("server", "itself"), ..ServicePlan::default() }).await?;
    let checks = every(&made, &["itself"], &Client::Anybody);
    let questions = checks.iter().map(|check| check.question.clone()).collect();
    let plan = PodPlan { ask: questions, ..PodPlan::server("itself", &stage.places()[0]) };
    stage.hold(&plan, &checks).await
}

pub(super) async fn affinity(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let (name, names) = if stage.places().len() > 1 { ("web", vec!["a1", "b1"]) } else { ("web", vec!["a1", "a2"]) };
    // On one node there is but one pod of that group: what is left to see is that it answers each time.
    let plan = ServicePlan { name: "sticky", label: ("group", name), sticky: true, ..ServicePlan::default() };
    let made = stage.service(&plan).await?;
    let checks: Vec<_> = made.addresses.iter().flat_map(|address| Check::sticky(&names, *address)).collect();
    let asking = (0..stage.places().len()).map(|at| Asking::pod(at, checks.clone())).collect();
    let right = stage.ask(asking).await?;
    Ok(passed(format!("{right} times 20 connections or datagrams, {}", families(&cast.on(0).addresses))))
}
