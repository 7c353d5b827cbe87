//! Agents are replaced while pods talk.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use weft_agent::connectivity::{Answer, Finish, Question, Stream, Told};

use super::{no_weft, passed};
use crate::e2e::manifest::PodPlan;
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};
use crate::e2e::until;
use crate::e2e::weft::{Weft, served};

/// Streams end by themselves after that long.
const STREAM_MAX: u32 = 480;

/// How long an agent may take to be replaced.
const REPLACED: Duration = Duration::from_secs(180);

/// Streams go on for that long before and after.
const QUIET: Duration = Duration::from_secs(2);

/// What `kubectl rollout restart` writes.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

pub(super) async fn one(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let Some(weft) = &stage.cluster().weft else { return Ok(no_weft()) };
    let node = &stage.places()[0].name;
    let streams = Streams::start(stage, cast).await?;
    let client = &stage.cluster().client;
    let before = served(client, weft).await?.remove(node).context("no ready pod of weft on the node")?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &weft.namespace);
    pods.delete(&before.name_any(), &DeleteParams::default()).await.context("delete the pod of weft")?;
    until(&format!("a new agent on {node}"), REPLACED, async || {
        let now = served(client, weft).await?.remove(node);
        Ok(match now.filter(|pod| pod.uid() != before.uid()) {
            Some(_) => Ok(()),
            None => Err("no other pod of weft is ready".to_owned()),
        })
    })
    .await?;
    streams.end(stage).await
}

pub(super) async fn all(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let Some(weft) = &stage.cluster().weft else { return Ok(no_weft()) };
    if !weft.rolls {
        return Ok(Verdict::NotApplicable("the DaemonSet's updateStrategy is OnDelete".to_owned()));
    }
    let streams = Streams::start(stage, cast).await?;
    roll(stage, weft).await?;
    streams.end(stage).await
}

/// Replaces all pods of weft, as `kubectl rollout restart` does.
async fn roll(stage: &Stage, weft: &Weft) -> Result<()> {
    let sets: Api<DaemonSet> = Api::namespaced(stage.cluster().client.clone(), &weft.namespace);
    let annotations = json!({ RESTARTED: format!("{}", k8s_openapi::jiff::Timestamp::now()) });
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
    let patched = sets.patch(&weft.daemon_set, &PatchParams::default(), &Patch::Merge(patch)).await;
    let wanted = patched.context("annotate weft's pods")?.metadata.generation;
    until("all pods of weft are replaced", REPLACED, async || {
        let set = sets.get(&weft.daemon_set).await.context("get weft's DaemonSet")?;
        let status = set.status.unwrap_or_default();
        let (all, new) = (status.desired_number_scheduled, status.updated_number_scheduled.unwrap_or_default());
        let done = status.observed_generation >= wanted && new == all && status.number_ready == all;
        Ok(if done { Ok(()) } else { Err(format!("{new} of {all} are new, {} are ready", status.number_ready)) })
    })
    .await
}

/// A pod that talks.
struct Talking {
    name: String,
    node: String,
    /// How many addresses it talks to.
    streams: usize,
}

/// A pod on each node that talks to the neighbours and to the other node.
struct Streams {
    talking: Vec<Talking>,
    servers: Vec<String>,
}

impl Streams {
    async fn start(stage: &Stage, cast: &Cast) -> Result<Self> {
        let server = |at: usize, number: usize| {
            let server = cast.pods.iter().filter(|server| server.at == at).nth(number)?;
            Some(server.addresses.iter().map(|address| SocketAddr::new(*address, server.port).to_string()))
        };
        // On the first node within it and to the other; on the other back.
        let inner: Vec<String> = server(0, 1).into_iter().flatten().collect();
        let over: Vec<String> = server(1, 0).into_iter().flatten().collect();
        let back: Vec<String> = server(0, 0).into_iter().flatten().collect();
        let mut talking = Vec::new();
        for (at, place) in stage.places().iter().enumerate() {
            let targets: Vec<&String> =
                if at == 0 { inner.iter().chain(&over).collect() } else { back.iter().collect() };
            let questions =
                targets.into_iter().map(|to| Question::Stream(Stream { to: to.clone(), seconds: STREAM_MAX }));
            let plan = PodPlan::client(&stage.name("stream"), place, questions.collect());
            stage.pods().create(&plan).await?;
            talking.push(Talking { streams: plan.ask.len(), name: plan.name, node: place.name.clone() });
        }
        for one in &talking {
            stage.pods().running(&one.name).await?;
        }
        tokio::time::sleep(QUIET).await;
        let first = |list: &[String]| list.first().cloned();
        let servers = [first(&inner), first(&over), first(&back)].into_iter().flatten().collect();
        Ok(Self { talking, servers })
    }

    /// Ends them, and counts what was lost.
    async fn end(self, stage: &Stage) -> Result<Verdict> {
        tokio::time::sleep(QUIET).await;
        for to in &self.servers {
            let answer = stage.answer(0, false, Question::Finish(Finish { to: to.clone() })).await?;
            ensure!(answer == Answer::Finish, "a new pod did not reach {to} to end the streams: {answer:?}");
        }
        let (mut messages, mut datagrams, mut longest) = (0, 0, 0);
        for Talking { name, node, streams } in &self.talking {
            let Told { answers, .. } = stage.pods().told(name, Duration::from_secs(60)).await?;
            ensure!(answers.len() == *streams, "{streams} streams from {node} told {answers:?}");
            for answer in answers {
                let Answer::Stream(told) = answer else { bail!("a stream from {node} broke: {answer:?}") };
                ensure!(told.messages > 0 && told.datagrams > 0, "a stream from {node} carried nothing: {told:?}");
                ensure!(told.lost == 0, "{} of {} datagrams from {node} were lost", told.lost, told.datagrams);
                messages += told.messages;
                datagrams += told.datagrams;
                longest = longest.max(told.longest_ms);
            }
        }
        Ok(passed(format!(
            "{messages} messages and {datagrams} datagrams, none lost, the slowest answer after {longest} ms"
        )))
    }
}
