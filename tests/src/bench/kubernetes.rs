//! The agent in a cluster: how soon its network is announced, what it takes, and how soon a pod is reached.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::agent::{peak, processor_time, resident};
use super::statistics::{median, millis, number, percentile};
use super::{Bench, Figures, Target, progress};
use crate::apiserver::NODES;
use crate::cluster::{self, Cluster, conditions, large_node, pod};
use crate::fabric::{Layout, Member, Routing};
use crate::node::{Attach, Family};
use crate::pod::Pod;
use crate::storm;
use crate::traffic::ping;
use crate::wait;

/// Endpoints that an agent finds when it starts.
const ENDPOINTS: usize = 250;
/// Pods of a node as kubelets take them.
const PODS: usize = 110;
/// Nodes of a large cluster.
const NODES_OF_MANY: u16 = 5000;
/// Heartbeats of all of them.
const BEATS_A_SECOND: u32 = 100;
/// How long anything here may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all of it.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    reach(bench, figures)?;
    start(bench, figures)?;
    many(bench, figures)
}

fn lay(bench: &Bench) -> Result<Cluster> {
    Cluster::lay(&bench.site, Layout::new(Routing::Overlay, Attach::preferred()).nodes(2))
}

/// From the end of an ADD until the pod answers another node's.
fn reach(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(50, 10);
    progress(&format!("{rounds} pods that a pod of another node talks to at once"));
    let cluster = lay(bench)?;
    cluster.start_agents()?;
    let far = cluster.pod(cluster.member(2), "bench", "far")?;
    let mut took = Vec::new();
    for round in 0..rounds {
        let near = cluster.pod(cluster.member(1), "bench", &format!("near-{round}"))?;
        let added = Instant::now();
        for family in Family::BOTH {
            ping::until_answered(far.netns(), near.address(family)?, PATIENCE)?;
        }
        took.push(millis(added.elapsed()));
        near.del(cluster.member(1).node())?;
    }
    let name = |part: &str| format!("ADD to answers from another node, both families, {part}");
    figures.note(name("p50"), median(&took), "ms");
    figures.aim(name("p95"), percentile(&took, 95), "ms", Target::AtMost(100.0));
    figures.note(name("most"), took.iter().copied().fold(0.0, f64::max), "ms");
    Ok(())
}

/// Starts with all endpoints to reconcile, and nothing of the node's object known beforehand.
fn start(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let starts = bench.rounds(7, 3);
    progress(&format!("{PODS} pods, then {ENDPOINTS}, and {starts} starts of an agent in a cluster"));
    let cluster = lay(bench)?;
    cluster.start_agents()?;
    let member = cluster.member(1);
    let node = member.node();
    let names: Vec<String> = (0..ENDPOINTS).map(|number| format!("pod-{number}")).collect();
    cluster.server().put_all(names.iter().map(|name| pod("bench", name, "n1")))?;
    let mut pods = fill(&cluster, &names[..PODS])?;
    thread::sleep(Duration::from_secs(1));
    let name = format!("RSS with {PODS} pods");
    figures.aim(name, resident(node.agent_pid()?)?, "MiB", Target::AtMost(20.0));
    pods.extend(fill(&cluster, &names[PODS..])?);
    let mut announced = Vec::new();
    for _ in 0..starts {
        node.stop_agent(Signal::SIGTERM)?;
        forget(member)?;
        let mut command = node.agent_command()?;
        command.args(node.dir_flags());
        let started = Instant::now();
        node.launch(&mut command)?;
        wait_for_conflist(member)?;
        announced.push(millis(started.elapsed()));
        node.wait_ready(PATIENCE)?;
    }
    let name = format!("start to conflist with {ENDPOINTS} endpoints, p50");
    figures.aim(name, median(&announced), "ms", Target::AtMost(500.0));
    figures.note(format!("RSS with {ENDPOINTS} pods"), resident(node.agent_pid()?)?, "MiB");
    storm::all_at_once(&pods, |pod| pod.del(node)).into_iter().collect()
}

/// Attaches pods, a few at once.
fn fill(cluster: &Cluster, names: &[String]) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for some in names.chunks(25) {
        let made = storm::all_at_once(some, |name| cluster.run_pod(cluster.member(1), "bench", name));
        pods.extend(made.into_iter().collect::<Result<Vec<_>>>()?);
    }
    Ok(pods)
}

/// Takes away what an agent that starts on a bare node does not find: plugin, network, and what it knew of the node.
fn forget(member: &Member) -> Result<()> {
    let joined = cluster::joined(member)?;
    let files = [joined.conflist(), joined.bin_dir.join("weft-cni"), member.node().run_dir().join("node.json")];
    for file in files {
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    Ok(())
}

fn wait_for_conflist(member: &Member) -> Result<()> {
    let path = cluster::joined(member)?.conflist();
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        ensure!(Instant::now() < deadline, "no conflist:\n{}", member.node().agent_log());
        thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// What a cluster of many nodes takes, at rest and while their kubelets report.
fn many(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let seconds = if bench.quick { 5 } else { 20 };
    progress(&format!("{NODES_OF_MANY} nodes, then {BEATS_A_SECOND} heartbeats a second for {seconds} s"));
    let cluster = lay(bench)?;
    cluster.server().put_all((0..NODES_OF_MANY).map(large_node))?;
    let member = cluster.member(1);
    member.node().start_agent()?;
    let all = usize::from(NODES_OF_MANY) + 1;
    wait::until("all nodes are known", PATIENCE, || Ok(cluster::peers(member)?.len() == all))?;
    let pid = member.node().agent_pid()?;
    // What was only needed to learn of them goes back.
    thread::sleep(Duration::from_secs(2));
    let name = format!("RSS in a cluster of {NODES_OF_MANY} nodes");
    figures.aim(name, resident(pid)?, "MiB", Target::AtMost(60.0));
    figures.note("the most while it learnt of them", peak(pid)?, "MiB");

    let stop = AtomicBool::new(false);
    let (used, beats, told, late) = thread::scope(|scope| {
        let (started, beats) = (Instant::now(), scope.spawn(|| beat(&cluster, &stop)));
        // The first beats are still to be got used to.
        thread::sleep(Duration::from_secs(1));
        let before = processor_time(pid)?;
        thread::sleep(Duration::from_secs(seconds));
        let used = processor_time(pid)?.saturating_sub(before);
        // Whoever has not read what came has saved nothing.
        cluster.server().put(large_node(NODES_OF_MANY))?;
        let known = || Ok(cluster::peers(member)?.len() > all);
        let late = wait::until("a node more is known beside the heartbeats", PATIENCE, known);
        stop.store(true, Ordering::Relaxed);
        let beats = beats.join().map_err(|_| anyhow::anyhow!("the heartbeats panicked"))??;
        anyhow::Ok((used, beats, started.elapsed(), late?))
    })?;
    let rate = number(beats.into()) / told.as_secs_f64();
    // An unoptimised server does not tell of all in time: each heartbeat costs the agent the same.
    let share = millis(used) / number(seconds) * f64::from(BEATS_A_SECOND) / rate;
    let name = format!("processor time at {BEATS_A_SECOND} heartbeats a second");
    figures.aim(name, share, "ms/s", Target::AtMost(10.0));
    figures.note("heartbeats a second that came for this", rate, "");
    figures.note("a node more is known beside them after", millis(late), "ms");
    figures.note(format!("RSS after {beats} heartbeats"), resident(pid)?, "MiB");
    Ok(())
}

/// Reports of kubelets, one after another, until told to stop; returns how many. Each is a whole object of 20 KB to
/// whoever watches.
fn beat(cluster: &Cluster, stop: &AtomicBool) -> Result<u32> {
    let names = (0..NODES_OF_MANY).map(|number| large_node(number)["metadata"]["name"].as_str().map(str::to_owned));
    let names = names.collect::<Option<Vec<_>>>().context("a node has a name")?;
    let started = Instant::now();
    for (number, name) in (0_u32..).zip(names.iter().cycle()) {
        let due = Duration::from_secs(number.into()) / BEATS_A_SECOND;
        thread::sleep(due.saturating_sub(started.elapsed()));
        if stop.load(Ordering::Relaxed) {
            return Ok(number);
        }
        cluster.server().edit(NODES, "", name, |node| node["status"]["conditions"] = conditions(number))?;
    }
    Ok(u32::MAX)
}
