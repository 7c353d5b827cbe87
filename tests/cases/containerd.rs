//! Debian's containerd makes pods through the conflist that weft ships, asked by CRI as a kubelet asks.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::cri::message::PodSandboxConfig;
use weft_tests::cri::{Client, Containerd, Sandbox};
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::traffic::stream;
use weft_tests::{kernel, need, wait};

/// A node with a runtime; fields in the order in which they end.
struct Host {
    kubelet: Client,
    containerd: Containerd,
    node: Node,
}

impl Host {
    fn start() -> Result<Self> {
        Self::on(Node::start(Attach::preferred())?)
    }

    fn on(node: Node) -> Result<Self> {
        let dir = node.dir().join("containerd");
        let plugins = [need::binary("weft-cni")?];
        let containerd = Containerd::start(node.site(), node.netns(), &dir, &shipped_conflist(&node)?, &plugins)?;
        Ok(Self { kubelet: containerd.client()?, containerd, node })
    }

    fn join(&self, name: &str) -> Result<Sandbox> {
        self.join_by(PodSandboxConfig::named("shop", name))
    }

    fn join_by(&self, config: PodSandboxConfig) -> Result<Sandbox> {
        let id = self.kubelet.run(config)?;
        self.kubelet.sandbox(&id)
    }

    fn leave(&self, sandbox: &Sandbox) -> Result<()> {
        self.kubelet.stop(&sandbox.id)?;
        self.kubelet.remove(&sandbox.id)
    }

    /// Sends `count` echo requests, ten a second; fails unless each is answered.
    fn ping(&self, from: &Sandbox, to: &Sandbox, count: u32) -> Result<()> {
        for address in &to.addresses {
            let (count, address) = (count.to_string(), address.to_string());
            let args = ["ping", "-c", &count, "-i", "0.1", "-W", "1", &address];
            let said = self.containerd.tool_in(from, "busybox", &args)?;
            ensure!(said.contains(" 0% packet loss"), "{said}");
        }
        Ok(())
    }

    fn talk(&self, one: &Sandbox, other: &Sandbox) -> Result<()> {
        self.ping(one, other, 1)?;
        self.ping(other, one, 1)
    }

    /// What `weft endpoint list` says of a sandbox.
    fn endpoint(&self, sandbox: &Sandbox) -> Result<Value> {
        let list = self.node.weft_json(&["endpoint", "list"])?;
        let endpoints = list.as_array().context("a list was due")?;
        let found = endpoints.iter().find(|endpoint| endpoint["key"]["containerId"] == *sandbox.id);
        found.cloned().with_context(|| format!("no endpoint of {} in {list}", sandbox.id))
    }

    /// Fails unless runtime, agent, kernel and disk hold this many sandboxes.
    fn holds(&self, count: usize) -> Result<()> {
        let records = fs::read_dir(self.node.run_dir().join("attachments")).context("list the records")?.count();
        let endpoints = self.node.weft_json(&["endpoint", "list"])?;
        let used: Vec<Value> = self.pools()?.iter().map(|pool| pool["used"].clone()).collect();
        let (sandboxes, host_ends) = (self.kubelet.sandboxes()?, kernel::host_ends(self.node.netns())?);
        assert_eq!(sandboxes.len(), count, "sandboxes: {sandboxes:?}");
        assert_eq!(endpoints.as_array().map(Vec::len), Some(count), "endpoints: {endpoints}");
        assert_eq!(records, count, "records");
        assert_eq!(used, vec![json!(count); 2], "leases of each pool");
        assert_eq!(host_ends.len(), count, "host ends: {host_ends:?}");
        Ok(())
    }

    fn pools(&self) -> Result<Vec<Value>> {
        let status = self.node.api("GET", "/v1/status", None)?.json;
        status["pools"].as_array().cloned().with_context(|| format!("no pools in {status}"))
    }
}

/// `deploy/standalone/05-weft.conflist`, with the node's socket and nothing else changed.
fn shipped_conflist(node: &Node) -> Result<Value> {
    let path = need::workspace().join("deploy/standalone/05-weft.conflist");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut conflist: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    conflist["plugins"][0]["agentSocket"] = json!(node.socket());
    Ok(conflist)
}

#[test]
fn sandboxes_join_talk_and_leave() -> Result<()> {
    let host = Host::start()?;
    let conditions = host.kubelet.conditions()?;
    assert!(conditions.iter().any(|one| one.r#type == "NetworkReady" && one.status), "{conditions:?}");

    let (web, db) = (host.join("web")?, host.join("db")?);
    host.holds(2)?;
    for (name, sandbox) in [("web", &web), ("db", &db)] {
        let endpoint = host.endpoint(sandbox)?;
        assert_eq!(endpoint["pod"], json!({ "namespace": "shop", "name": name, "uid": format!("uid-of-{name}") }));
        assert_eq!(endpoint["netns"], json!(sandbox.netns));
        assert_eq!(endpoint["stage"], "ready");
        let told: Vec<IpAddr> = serde_json::from_value(endpoint["addresses"].clone())?;
        assert_eq!(told, sandbox.addresses, "agent and runtime differ");
        assert_eq!(told.len(), 2);
        assert!(Family::BOTH.iter().all(|family| told.iter().any(|address| family.has(address))), "{told:?}");
    }
    assert!(web.addresses.iter().all(|address| !db.addresses.contains(address)));
    host.talk(&web, &db)?;

    host.leave(&web)?;
    host.holds(1)?;
    host.leave(&db)?;
    host.holds(0)
}

#[test]
fn a_sandbox_outlives_the_agent() -> Result<()> {
    let host = Host::start()?;
    let (web, db) = (host.join("web")?, host.join("db")?);
    thread::scope(|scope| -> Result<()> {
        let pinging = scope.spawn(|| host.ping(&web, &db, 10));
        host.node.stop_agent(Signal::SIGKILL)?;
        host.talk(&db, &web).context("while no agent runs")?;
        host.node.start_agent()?;
        pinging.join().map_err(|_| anyhow::anyhow!("the ping panicked"))?.context("across the restart")
    })?;
    host.holds(2)?;
    host.talk(&web, &db).context("after the restart")?;
    let cache = host.join("cache")?;
    host.talk(&web, &cache).context("old and new")?;
    [web, db, cache].iter().try_for_each(|sandbox| host.leave(sandbox))?;
    host.holds(0)
}

#[test]
fn a_host_port_leads_to_its_sandbox_and_a_taken_one_is_refused() -> Result<()> {
    let host = Host::start()?;
    let web = host.join_by(PodSandboxConfig::named("shop", "web").host_port(8080, 80))?;
    // It ends with its first client, and by itself if none comes.
    let server = "timeout 10 busybox nc -l -p 80 -e true > /dev/null 2>&1 < /dev/null &";
    host.containerd.tool_in(&web, "sh", &["-c", server])?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 8080));
    let reached = || host.node.netns().enter(|| stream::connect(loopback))?.map(|_| true);
    wait::until("the host port leads to the sandbox", Duration::from_secs(5), reached)?;

    let Err(error) = host.kubelet.run(PodSandboxConfig::named("shop", "db").host_port(8080, 5432)) else {
        anyhow::bail!("a sandbox got a port that another one has");
    };
    let error = format!("{error:#}");
    assert!(error.contains("8080") && error.contains("shop/web"), "{error}");
    host.holds(1)?;
    host.leave(&web)?;
    let db = host.join_by(PodSandboxConfig::named("shop", "db").host_port(8080, 5432)).context("the port is free")?;
    host.leave(&db)?;
    host.holds(0)
}

#[test]
fn without_an_agent_sandboxes_are_asked_to_come_again_and_may_leave() -> Result<()> {
    let host = Host::on(Node::without_agent(Settings::new(Attach::preferred()))?)?;
    let Err(error) = host.join("web") else { anyhow::bail!("a sandbox came up without an agent") };
    assert!(format!("{error:#}").contains("try again"), "{error:#}");
    assert_eq!(kernel::host_ends(host.node.netns())?, [""; 0]);

    host.node.start_agent()?;
    host.holds(0)?;
    let (web, db) = (host.join("web")?, host.join("db")?);
    host.talk(&web, &db)?;

    host.node.stop_agent(Signal::SIGTERM)?;
    host.leave(&web).context("leave while no agent runs")?;
    host.node.start_agent()?;
    host.holds(1)?;
    host.leave(&db)?;
    host.holds(0)
}
