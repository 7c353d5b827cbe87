//! What the cluster says of its nodes.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{no_weft, passed};
use crate::e2e::cluster::condition;
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};
use crate::e2e::weft::{missing, served};

/// Keeps pods away until the agent is ready.
const TAINT: &str = "weft.dev/agent-not-ready";

pub(super) async fn ready(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let cluster = stage.cluster();
    let Some(weft) = &cluster.weft else { return Ok(no_weft()) };
    let agents = served(&cluster.client, weft).await?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.context("list nodes")?;
    // A node whose agent is not there would only make the others look good.
    let mut wrong = missing(&cluster.client, weft).await?;
    for node in nodes.items.iter().filter(|node| agents.contains_key(&node.name_any())) {
        let name = node.name_any();
        for (kind, wanted) in [("Ready", "True"), ("NetworkUnavailable", "False")] {
            match condition(node, kind) {
                Some(is) if is == wanted => {}
                other => wrong.push(format!("{name}: {kind} is {}, not {wanted}", other.unwrap_or("not there"))),
            }
        }
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        if taints.into_iter().flatten().any(|taint| taint.key == TAINT) {
            wrong.push(format!("{name}: taint {TAINT} is still there"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let mut told = Vec::new();
    for (at, place) in stage.places().iter().enumerate() {
        if let Some(state) = stage.agent(at).await? {
            ensure!(state.ready, "the agent of {} is not ready: {}", place.name, state.problems.join("; "));
            let proxy = state.proxy.unwrap_or_else(|| "not known".to_owned());
            let problems = state.problems.join("; ");
            told.push(
                format!("{}: {} peers, kube-proxy {proxy} {problems}", place.name, state.peers).trim().to_owned(),
            );
        }
    }
    let others = nodes.items.iter().filter(|node| !agents.contains_key(&node.name_any())).count();
    let others = if others == 0 { String::new() } else { format!(", {others} without an agent") };
    Ok(passed(format!("{} nodes{others}; {}", agents.len(), told.join(", "))))
}
