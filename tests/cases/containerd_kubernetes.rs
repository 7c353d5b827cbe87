//! Debian's containerd on two nodes of a cluster: plugin and network come from the agents, pods from a kubelet's calls.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use weft_tests::apiserver::PODS;
use weft_tests::cluster::{Cluster, SOON, conflist, joined, pod};
use weft_tests::cri::message::PodSandboxConfig;
use weft_tests::cri::{Client, Containerd, Sandbox};
use weft_tests::fabric::{Layout, Member, Routing};
use weft_tests::node::Attach;
use weft_tests::site::Site;
use weft_tests::traffic::ping;
use weft_tests::{kernel, wait};

/// A node with its runtime.
struct Host<'a> {
    kubelet: Client,
    containerd: Containerd,
    member: &'a Member,
    cluster: &'a Cluster,
}

impl<'a> Host<'a> {
    fn start(cluster: &'a Cluster, number: usize) -> Result<Self> {
        let member = cluster.member(number);
        let (node, joined) = (member.node(), joined(member)?);
        let dir = node.dir().join("containerd");
        let containerd = Containerd::start_beside(node.site(), node.netns(), &dir, &joined.bin_dir, &joined.conf_dir)?;
        Ok(Self { kubelet: containerd.client()?, containerd, member, cluster })
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(self.kubelet.conditions()?.iter().any(|one| one.r#type == "NetworkReady" && one.status))
    }

    /// A pod by scheduler and kubelet: its object, its sandbox, its addresses in the object.
    fn join(&self, name: &str) -> Result<Sandbox> {
        let node = &self.member.node().settings().node_name;
        self.cluster.server().put(pod("shop", name, node))?;
        let id = self.kubelet.run(PodSandboxConfig::named("shop", name))?;
        let sandbox = self.kubelet.sandbox(&id)?;
        let ips: Vec<_> = sandbox.addresses.iter().map(|address| json!({ "ip": address })).collect();
        self.cluster.server().edit(PODS, "shop", name, |pod| {
            pod["status"] = json!({ "phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips });
        })?;
        Ok(sandbox)
    }

    fn leave(&self, sandbox: &Sandbox, name: &str) -> Result<()> {
        self.kubelet.stop(&sandbox.id)?;
        self.kubelet.remove(&sandbox.id)?;
        self.cluster.server().remove(PODS, "shop", name)
    }

    fn ping(&self, from: &Sandbox, to: &[IpAddr]) -> Result<()> {
        for address in to {
            let args = ["ping", "-c", "1", "-W", "1", &address.to_string()];
            let said = self.containerd.tool_in(from, "busybox", &args)?;
            ensure!(said.contains(" 0% packet loss"), "{said}");
        }
        Ok(())
    }

    /// Fails unless agent, kernel and disk hold this many pods.
    fn holds(&self, count: usize) -> Result<()> {
        let node = self.member.node();
        let records = fs::read_dir(node.run_dir().join("attachments")).context("list the records")?.count();
        let endpoints = node.weft_json(&["endpoint", "list"])?;
        let host_ends = kernel::host_ends(node.netns())?;
        ensure!(records == count, "{records} records where {count} are due");
        ensure!(endpoints.as_array().map(Vec::len) == Some(count), "{count} are due: {endpoints}");
        ensure!(host_ends.len() == count, "{count} are due: {host_ends:?}");
        Ok(())
    }
}

fn cluster() -> Result<Cluster> {
    let layout = Layout::new(Routing::Overlay, Attach::preferred()).nodes(2);
    Cluster::lay(&Site::of_tests()?, layout)
}

#[test]
fn nodes_become_ready_and_sandboxes_talk_across_them() -> Result<()> {
    let cluster = cluster()?;
    let hosts = [Host::start(&cluster, 1)?, Host::start(&cluster, 2)?];
    ensure!(!hosts[0].is_ready()?, "a network before there is one");
    cluster.start_agents()?;
    for host in &hosts {
        wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    }
    let (web, db) = (hosts[0].join("web")?, hosts[1].join("db")?);
    hosts[0].ping(&web, &db.addresses)?;
    hosts[1].ping(&db, &web.addresses)?;
    let near = hosts[0].join("near")?;
    hosts[0].ping(&web, &near.addresses)?;
    hosts[0].leave(&web, "web")?;
    hosts[0].leave(&near, "near")?;
    hosts[1].leave(&db, "db")?;
    hosts.iter().try_for_each(|host| host.holds(0))
}

#[test]
fn a_pod_answers_from_another_node_as_soon_as_it_is_told() -> Result<()> {
    let cluster = cluster()?;
    cluster.start_agents()?;
    let host = Host::start(&cluster, 1)?;
    wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    let far = cluster.pod(cluster.member(2), "shop", "far")?;
    for number in 0..5 {
        let name = format!("web-{number}");
        let sandbox = host.join(&name)?;
        for address in &sandbox.addresses {
            let took = ping::until_answered(far.netns(), *address, SOON)?;
            ensure!(took < wait::patience(Duration::from_millis(100)), "{address} answered after {took:?}");
        }
        host.leave(&sandbox, &name)?;
    }
    host.holds(0)
}

#[test]
fn sandboxes_outlive_agent_and_server_and_those_that_went_meanwhile_are_released() -> Result<()> {
    let cluster = cluster()?;
    cluster.start_agents()?;
    let host = Host::start(&cluster, 1)?;
    wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    let far = cluster.pod(cluster.member(2), "shop", "far")?;
    let far: Vec<IpAddr> = weft_tests::pod::addresses(far.result())?;
    let (stays, leaves, vanishes) = (host.join("stays")?, host.join("leaves")?, host.join("vanishes")?);
    host.holds(3)?;
    cluster.server().stop();
    host.member.node().stop_agent(Signal::SIGKILL)?;
    host.ping(&stays, &far).context("without agent and server")?;
    host.kubelet.stop(&leaves.id).context("leave while no agent runs")?;
    host.kubelet.remove(&leaves.id)?;
    // The namespace of the third goes behind everyone's back, and its interface with it.
    let inside = vanishes.netns.file_name().context("a namespace has a name")?.to_string_lossy().into_owned();
    host.containerd.tool_in(&vanishes, "ip", &["link", "del", "eth0"]).with_context(|| inside)?;
    host.member.node().start_agent().context("start without a server")?;
    wait::until("what went is released", SOON, || Ok(host.holds(1).is_ok()))
        .with_context(|| format!("{:?}", host.holds(1)))?;
    host.ping(&stays, &far).context("after the restart")?;
    conflist(host.member)?;
    let id = host.kubelet.run(PodSandboxConfig::named("shop", "new")).context("a new pod without a server")?;
    let new = host.kubelet.sandbox(&id)?;
    host.ping(&new, &far)?;
    cluster.server().resume()?;
    host.ping(&stays, &new.addresses)
}

#[test]
fn a_runtime_that_starts_last_or_again_finds_the_network() -> Result<()> {
    let cluster = cluster()?;
    cluster.start_agents()?;
    let host = Host::start(&cluster, 1)?;
    wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    let web = host.join("web")?;
    host.ping(&web, &web.addresses)?;
    drop(host);
    // The runtime took its pods along, as a reboot does; nobody ever asked for their DEL.
    let member = cluster.member(1);
    member.node().stop_agent(Signal::SIGTERM)?;
    member.node().start_agent()?;
    let host = Host::start(&cluster, 1)?;
    wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    wait::until("what went is released", SOON, || Ok(host.holds(0).is_ok()))
        .with_context(|| format!("{:?}", host.holds(0)))?;
    let again = host.join("again")?;
    host.ping(&again, &again.addresses)
}

#[test]
fn pods_outlive_their_runtime_and_both_find_each_other_again() -> Result<()> {
    let cluster = cluster()?;
    let mut hosts = [Host::start(&cluster, 1)?, Host::start(&cluster, 2)?];
    cluster.start_agents()?;
    for host in &hosts {
        wait::until("the runtime sees the network", SOON, || host.is_ready())?;
    }
    let (web, db) = (hosts[0].join("web")?, hosts[1].join("db")?);
    let member = cluster.member(1);
    // Runtime, agent, and both at once.
    for (agent, runtime) in [(None, Some("TERM")), (Some(Signal::SIGTERM), None), (Some(Signal::SIGKILL), Some("KILL"))]
    {
        if let Some(signal) = agent {
            member.node().stop_agent(signal)?;
        }
        if let Some(signal) = runtime {
            hosts[0].containerd.restart(signal)?;
            hosts[0].kubelet = hosts[0].containerd.client()?;
        }
        hosts[0].ping(&web, &db.addresses).with_context(|| format!("while {agent:?} is away"))?;
        if agent.is_some() {
            member.node().start_agent()?;
        }
        wait::until("the runtime sees the network", SOON, || hosts[0].is_ready())?;
        hosts[0].holds(1)?;
        let next = hosts[0].join("next")?;
        hosts[0].ping(&next, &[&*web.addresses, &*db.addresses].concat())?;
        hosts[1].ping(&db, &[&*web.addresses, &*next.addresses].concat())?;
        hosts[0].leave(&next, "next")?;
    }
    hosts[0].leave(&web, "web")?;
    hosts[1].leave(&db, "db")?;
    hosts.iter().try_for_each(|host| host.holds(0))
}
