//! Pods come and go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;
use weft_agent::connectivity::{Question, Transport, Who};

use super::passed;
use crate::e2e::check::{Asking, Check, Wanted};
use crate::e2e::cluster::condition;
use crate::e2e::manifest::{PORT, PodPlan};
use crate::e2e::pods::{addresses, is_over, restarts};
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};
use crate::e2e::until;

/// Pods that come at once, over all nodes.
const MANY: usize = 30;

/// Long enough for several rounds of every probe.
const PROBED: Duration = Duration::from_secs(6);

/// How long an agent may take to forget what is gone.
const FORGETTING: Duration = Duration::from_secs(60);

pub(super) async fn probes(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let started = Instant::now();
    let names = try_join_all(stage.places().iter().map(async |place| {
        let name = stage.name("probed");
        stage.pods().create(&PodPlan { probed: true, ..PodPlan::server(&name, place) }).await?;
        stage.pods().ready(&name).await?;
        anyhow::Ok(name)
    }))
    .await?;
    let ready = started.elapsed();
    tokio::time::sleep(PROBED).await;
    for name in &names {
        let pod = stage.pods().ready(name).await?;
        ensure!(restarts(&pod) == 0, "{name} was restarted: its liveness probe failed");
        stage.pods().delete(name).await?;
    }
    Ok(passed(format!("{} pods ready after {:.1} s and not restarted since", names.len(), ready.as_secs_f64())))
}

pub(super) async fn gone(stage: &Stage, _: &Cast) -> Result<Verdict> {
    stage.pods().create(&PodPlan::server("leaving", &stage.places()[0])).await?;
    let pod = stage.pods().ready("leaving").await?;
    stage.pods().delete("leaving").await?;
    let last = addresses(&pod)?;
    let silent = |over: Transport| {
        last.iter().map(move |address| {
            let to = SocketAddr::new(*address, PORT).to_string();
            let what = format!("{to} over {}, whose pod is gone", over.name());
            Check { what, question: Question::Who(Who { to, over, times: 1, patience_ms: 0 }), wanted: Wanted::Silence }
        })
    };
    let checks: Vec<_> = silent(Transport::Tcp).chain(silent(Transport::Udp)).collect();
    stage.ask((0..stage.places().len()).map(|at| Asking::pod(at, checks.clone())).collect()).await?;
    Ok(passed(format!("{last:?} is silent for pods of every node")))
}

/// Pods that a node's kubelet counts: those that are not over.
async fn pods_on(stage: &Stage, node: &str) -> Result<usize> {
    let all: Api<Pod> = Api::all(stage.cluster().client.clone());
    let which = ListParams::default().fields(&format!("spec.nodeName={node}"));
    Ok(all.list(&which).await.context("list pods")?.items.iter().filter(|pod| !is_over(pod)).count())
}

pub(super) async fn many(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let places = stage.places();
    let mut left = Vec::new();
    let mut before = Vec::new();
    for (at, place) in places.iter().enumerate() {
        left.push(place.room.saturating_sub(pods_on(stage, &place.name).await? + 2));
        before.push(stage.agent(at).await?);
    }
    let room = left.iter().copied().min().unwrap_or_default().min(MANY / places.len());
    if room == 0 {
        return Ok(Verdict::NotApplicable("a node is full".to_owned()));
    }
    let count = room * places.len();
    let started = Instant::now();
    let pods = try_join_all((0..count).map(async |number| {
        let name = format!("many-{number}");
        let mut plan = PodPlan::server(&name, &places[number % places.len()]);
        plan.labels = BTreeMap::from([("many".to_owned(), "yes".to_owned())]);
        stage.pods().create(&plan).await?;
        anyhow::Ok((name.clone(), stage.pods().ready(&name).await?))
    }))
    .await?;
    let up = started.elapsed();
    let mut known = BTreeMap::new();
    for (name, pod) in &pods {
        for address in addresses(pod)? {
            if let Some(other) = known.insert(address, name) {
                anyhow::bail!("{other} and {name} both have {address}");
            }
        }
    }
    stage.pods().delete_all("many=yes").await?;
    let mut told = Vec::new();
    for (at, before) in before.iter().enumerate() {
        if let Some(before) = before {
            let left = forgotten(stage, at, before.leased).await?;
            told.push(format!("{} {left} addresses leased as before", places[at].name));
        }
    }
    let nodes: Api<Node> = Api::all(stage.cluster().client.clone());
    for place in places {
        let node = nodes.get(&place.name).await.context("get a node")?;
        ensure!(condition(&node, "Ready") == Some("True"), "{} is not Ready any more", place.name);
    }
    let told = if told.is_empty() { "the agents' sockets were not found".to_owned() } else { told.join(", ") };
    Ok(passed(format!("{count} pods ready after {:.1} s, {} addresses; gone: {told}", up.as_secs_f64(), known.len())))
}

/// Waits until the agent holds no more leases than before.
async fn forgotten(stage: &Stage, at: usize, before: u64) -> Result<u64> {
    until(&format!("{} releases addresses", stage.places()[at].name), FORGETTING, async || {
        let now = stage.agent(at).await?.context("the agent's socket is gone")?.leased;
        Ok(if now <= before { Ok(now) } else { Err(format!("{now} are leased, {before} were")) })
    })
    .await
}
