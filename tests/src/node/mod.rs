//! A node: a network namespace with a cgroup, a BPF filesystem, a run directory and an agent of its own.

mod family;
mod settings;
mod uplink;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

use crate::cgroup::Cgroup;
use crate::daemon::Daemon;
use crate::exec::{self, Output};
use crate::need;
use crate::netns::Netns;
use crate::pod::Pod;
use crate::runtime::Network;
use crate::site::Site;
use crate::wait;

pub use family::Family;
pub use settings::{Attach, GRANTED, Joined, POOLS, Settings};
pub use uplink::Uplink;

/// A node and what runs on it; everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Node {
    agent: Mutex<Option<Daemon>>,
    settings: Settings,
    netns: Netns,
    dir: PathBuf,
    site: Arc<Site>,
}

impl Node {
    /// A node with a ready agent and the usual pools.
    pub fn start(attach: Attach) -> Result<Self> {
        Self::start_with(Settings::new(attach))
    }

    /// A node with a ready agent.
    pub fn start_with(settings: Settings) -> Result<Self> {
        let node = Self::without_agent(settings)?;
        node.start_agent()?;
        Ok(node)
    }

    /// A node on which no agent runs yet.
    pub fn without_agent(settings: Settings) -> Result<Self> {
        Self::on(Site::of_tests()?, settings)
    }

    /// [`Self::without_agent`] on a site of the caller's.
    pub fn on(site: Arc<Site>, settings: Settings) -> Result<Self> {
        let name = site.unique("n");
        Self::named(site, &name, settings)
    }

    /// [`Self::on`] with a namespace of this name, which begins with the site's.
    pub fn named(site: Arc<Site>, name: &str, settings: Settings) -> Result<Self> {
        let dir = site.dir().join(name);
        fs::create_dir_all(dir.join("run")).context("create a run directory")?;
        fs::create_dir_all(dir.join("bpf")).context("create a BPF directory")?;
        let cgroup = Arc::new(Cgroup::threaded(name)?);
        let netns = Netns::with_loopback(name)?.in_cgroup(Some(cgroup));
        let node = Self { agent: Mutex::new(None), settings, netns, dir, site };
        if node.settings.mounts_bpffs {
            mount(Some("bpffs"), &node.bpffs(), Some("bpf"), MsFlags::empty(), None::<&str>)
                .context("mount a BPF filesystem")?;
        }
        Ok(node)
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The site that it is on.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything on disk that is this node's.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The agent's `--run-dir`.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Its BPF filesystem.
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    /// The agent's `--bpf-dir`.
    pub fn bpf_dir(&self) -> PathBuf {
        self.bpffs().join("weft")
    }

    /// Where maps and links are pinned.
    pub fn pins(&self) -> PathBuf {
        self.bpf_dir().join(format!("v{}", weft_abi::VERSION))
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    /// `weft-agent` with this node's directories and the settings' flags.
    pub fn agent_command(&self) -> Result<Command> {
        let mut command = self.bare_agent_command()?;
        command.args(self.settings.flags());
        Ok(command)
    }

    /// `weft-agent` with this node's directories alone: for `cleanup`, and for configuration by other means.
    pub fn bare_agent_command(&self) -> Result<Command> {
        let agent = need::binary("weft-agent")?;
        let cgroup = self.netns.cgroup().filter(|_| self.settings.sees_cgroups);
        let mut command = match (cgroup, &self.settings.capabilities) {
            (Some(_), Some(names)) => bounded(&agent, names)?,
            (Some(_), None) => Command::new(agent),
            (None, _) => blindfolded(&agent)?,
        };
        command.current_dir("/").env_clear().envs(cgroup.map(|cgroup| ("WEFT_CGROUP", cgroup.path())));
        command.envs(self.settings.env.clone());
        Ok(command)
    }

    /// Flags that name this node's directories.
    pub fn dir_flags(&self) -> [String; 2] {
        [format!("--run-dir={}", self.run_dir().display()), format!("--bpf-dir={}", self.bpf_dir().display())]
    }

    /// Starts the agent and waits until it is ready; returns how long that took.
    pub fn start_agent(&self) -> Result<Duration> {
        let mut command = self.agent_command()?;
        command.args(self.dir_flags());
        self.start_agent_as(&mut command)
    }

    /// Starts this command as the node's agent and waits until it is ready.
    pub fn start_agent_as(&self, command: &mut Command) -> Result<Duration> {
        let started = Instant::now();
        self.launch(command)?;
        self.wait_ready(wait::patience(Duration::from_secs(20)))?;
        Ok(started.elapsed())
    }

    /// Starts this command as the node's agent and does not wait.
    pub fn launch(&self, command: &mut Command) -> Result<()> {
        let mut agent = self.agent();
        ensure!(agent.is_none(), "an agent runs already");
        *agent = Some(Daemon::spawn(&self.site, &self.netns, command, &self.dir.join("agent.log"))?);
        Ok(())
    }

    /// Waits until the agent answers and is ready.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if self.api("GET", "/v1/status", None).is_ok_and(|reply| reply.json["ready"] == true) {
                return Ok(());
            }
            if let Some(agent) = self.agent().as_mut()
                && let Some(status) = agent.ended()?
            {
                bail!("the agent ended at its start ({status}):\n{}", agent.log());
            }
            ensure!(Instant::now() < deadline, "the agent is not ready after {limit:?}:\n{}", self.agent_log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the agent by this signal.
    pub fn stop_agent(&self, signal: Signal) -> Result<ExitStatus> {
        let mut agent = self.agent().take().context("no agent runs")?;
        agent.end(signal)
    }

    /// Waits until the agent has ended by itself; its status and log.
    pub fn agent_end(&self) -> Result<(ExitStatus, String)> {
        let mut agent = self.agent().take().context("no agent runs")?;
        let status = agent.wait(wait::patience(Duration::from_secs(20)))?;
        Ok((status, agent.log()))
    }

    /// The agent's process number.
    pub fn agent_pid(&self) -> Result<u32> {
        Ok(self.agent().as_ref().context("no agent runs")?.pid())
    }

    /// What every agent of this node wrote so far.
    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// Runs `weft-agent` to its end inside the node.
    pub fn run_agent(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.bare_agent_command()?;
        command.args(args).args(self.dir_flags());
        self.netns.enter(|| exec::output(&mut command, &[]))?
    }

    /// Runs `weft` for this node, whatever it answers.
    pub fn weft(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(need::binary("weft")?);
        command.arg(format!("--run-dir={}", self.run_dir().display())).args(args).env_clear().current_dir("/");
        self.netns.enter(|| exec::output(&mut command, &[]))?
    }

    /// Runs `weft` for this node and parses its JSON; a failure carries what it said.
    pub fn weft_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let output = self.weft(&[args, &["-o", "json"]].concat())?;
        ensure!(output.status.success(), "weft {}: {}", args.join(" "), output.complaint());
        serde_json::from_slice(&output.stdout).with_context(|| format!("weft {}: {}", args.join(" "), output.text()))
    }

    /// A request to the agent's socket.
    pub fn api(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<crate::api::Reply> {
        crate::api::request(&self.socket(), method, path, body)
    }

    /// The network of our plugin alone, for this node.
    pub fn network(&self) -> Network {
        Network::weft(&self.socket())
    }

    /// A pod in a namespace of its own, attached by the plugin.
    pub fn pod(&self) -> Result<Pod> {
        Pod::attach(self, &self.network())
    }

    /// The address of this family under which pods see the node: the first of its pool.
    ///
    /// # Panics
    ///
    /// When the node has no pool of the family.
    pub fn gateway(&self, family: Family) -> IpAddr {
        let mut pools = self.settings.pod_cidrs.iter().filter_map(|cidr| cidr.split('/').next()?.parse().ok());
        match pools.find(|network| family.has(network)) {
            Some(IpAddr::V4(network)) => IpAddr::from((network.to_bits() + 1).to_be_bytes()),
            Some(IpAddr::V6(network)) => IpAddr::from((network.to_bits() + 1).to_be_bytes()),
            None => unreachable!("a node without a {family:?} pool was asked for its address in it"),
        }
    }

    fn agent(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that runs a program as a root with these capabilities alone.
pub fn bounded(program: &Path, capabilities: &[String]) -> Result<Command> {
    let left = capabilities.iter().fold("-all".to_owned(), |left, name| format!("{left},+{name}"));
    let mut command = Command::new(need::tool("setpriv")?);
    command.args([format!("--bounding-set={left}"), "--inh-caps=-all".to_owned()]).arg(program);
    Ok(command)
}

/// A command that runs a program where no cgroup v2 hierarchy is mounted.
fn blindfolded(program: &Path) -> Result<Command> {
    let script = format!("{} --all --lazy --types cgroup2; exec \"$0\" \"$@\"", need::tool("umount")?.display());
    let mut command = Command::new(need::tool("unshare")?);
    command.args(["--mount", need::tool("sh")?.to_str().context("a path in UTF-8")?, "-euc", &script]).arg(program);
    Ok(command)
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent().take();
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.dir);
    }
}
