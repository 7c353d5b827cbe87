//! Networks on nodes of their own, executed the way a runtime does it and as fast as it does.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::netns::Netns;
use crate::node::{Attach, Node, Settings};
use crate::pod::Sandbox;
use crate::runtime::{Attachment, Network};
use crate::site::Site;

/// A network and the node that it is on.
#[derive(Debug)]
pub(super) struct Chain {
    /// What it is called in the table.
    pub(super) label: &'static str,
    host: Host,
    network: Network,
    search_path: OsString,
}

#[derive(Debug)]
enum Host {
    Weft(Box<Node>),
    Reference(Netns),
}

/// A pod that a chain has attached.
#[derive(Debug)]
pub(super) struct Joined {
    attachment: Attachment,
    network: Network,
    /// What ADD printed.
    pub(super) result: Value,
}

/// The version that all chains speak: the newest that Debian's plugins know.
const CNI_VERSION: &str = "1.0.0";

impl Chain {
    /// weft, with a ready agent; addresses of both families.
    pub(super) fn weft(site: &Arc<Site>) -> Result<Self> {
        let settings = Settings::new(Attach::Tcx).pools(&["10.244.0.0/16", "fd00:10:244::/64"]);
        let node = Node::on(Arc::clone(site), settings)?;
        node.start_agent()?;
        let network = Network::weft(&node.socket());
        Self::new("weft", Host::Weft(Box::new(node)), network)
    }

    /// The leanest of the reference plugins.
    pub(super) fn ptp(site: &Arc<Site>) -> Result<Self> {
        Self::reference(site, "ptp", |ipam| vec![json!({ "type": "ptp", "ipam": ipam })])
    }

    /// A bridge, nothing else.
    pub(super) fn bridge(site: &Arc<Site>) -> Result<Self> {
        Self::reference(site, "bridge", |ipam| vec![Self::bridge_plugin(false, ipam)])
    }

    /// The same that masquerades: what comes before portmap and bandwidth on a node that wants them.
    pub(super) fn masquerading(site: &Arc<Site>) -> Result<Self> {
        Self::reference(site, "bridge", |ipam| vec![Self::bridge_plugin(true, ipam)])
    }

    /// What a node that wants host ports and limits has: a bridge that masquerades, portmap and bandwidth.
    pub(super) fn full(site: &Arc<Site>) -> Result<Self> {
        Self::reference(site, "full chain", |ipam| {
            vec![
                Self::bridge_plugin(true, ipam),
                json!({ "type": "portmap", "capabilities": { "portMappings": true } }),
                json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }),
            ]
        })
    }

    fn bridge_plugin(masquerade: bool, ipam: &Value) -> Value {
        json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": masquerade, "ipam": ipam })
    }

    fn reference(site: &Arc<Site>, label: &'static str, plugins: impl FnOnce(&Value) -> Vec<Value>) -> Result<Self> {
        let name = site.unique("r");
        let leases = site.dir().join(&name);
        let ipam = json!({
            "type": "host-local",
            "dataDir": leases,
            "ranges": [[{ "subnet": "10.22.0.0/16" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        let netns = Netns::with_loopback(&name)?;
        Self::new(label, Host::Reference(netns), Network::of(plugins(&ipam)).named(&name))
    }

    fn new(label: &'static str, host: Host, network: Network) -> Result<Self> {
        let network = network.version(CNI_VERSION);
        let search_path = network.search_path()?;
        Ok(Self { label, host, network, search_path })
    }

    /// The node's namespace.
    pub(super) fn netns(&self) -> &Netns {
        match &self.host {
            Host::Weft(node) => node.netns(),
            Host::Reference(netns) => netns,
        }
    }

    /// The node, if it is ours.
    pub(super) fn node(&self) -> Result<&Node> {
        match &self.host {
            Host::Weft(node) => Ok(node),
            Host::Reference(_) => bail!("{} has no agent", self.label),
        }
    }

    /// The same network with another agent's socket.
    pub(super) fn through(&self, socket: &Path) -> Network {
        self.network.clone().with("agentSocket", json!(socket))
    }

    /// ADD of the pod with that number. The caller is in the node's namespace.
    pub(super) fn add(&self, sandbox: &Sandbox, number: usize) -> Result<Joined> {
        let network = self.network.clone();
        let network = if network.plugins.len() == 1 { network } else { network.offering(wishes(number)) };
        self.add_by(network, sandbox)
    }

    /// [`Self::add`] of a pod for which the runtime has these capabilities.
    pub(super) fn add_wishing(&self, sandbox: &Sandbox, wishes: &Value) -> Result<Joined> {
        self.add_by(self.network.clone().offering(wishes.clone()), sandbox)
    }

    /// [`Self::add`] with a network that is nearly the chain's own.
    pub(super) fn add_by(&self, network: Network, sandbox: &Sandbox) -> Result<Joined> {
        let attachment = sandbox.attachment.clone();
        let mut result = None;
        for plugin in &network.plugins {
            let printed = self.execute(&network, plugin, attachment.env("ADD"), result.as_ref());
            result = Some(serde_json::from_slice(&printed?).with_context(|| format!("{}: ADD", self.label))?);
        }
        let result = result.context("a chain without plugins")?;
        Ok(Joined { attachment, network, result })
    }

    /// DEL. The caller is in the node's namespace.
    pub(super) fn del(&self, joined: &Joined) -> Result<()> {
        for plugin in joined.network.plugins.iter().rev() {
            self.execute(&joined.network, plugin, joined.attachment.env("DEL"), Some(&joined.result))?;
        }
        Ok(())
    }

    /// VERSION of the first plugin: what starting it costs. The caller is in the node's namespace.
    pub(super) fn version(&self) -> Result<()> {
        let plugin = self.network.plugins.first().context("a chain without plugins")?;
        self.execute(&self.network, plugin, vec![("CNI_COMMAND", "VERSION".into())], None)?;
        Ok(())
    }

    fn execute(
        &self,
        network: &Network,
        plugin: &Value,
        mut env: Vec<(&str, OsString)>,
        result: Option<&Value>,
    ) -> Result<Vec<u8>> {
        env.push(("CNI_PATH", self.search_path.clone()));
        env.push(("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".into()));
        let config = network.config(plugin, result).to_string();
        execute(&network.find(plugin)?, &env, config.as_bytes()).with_context(|| self.label)
    }
}

/// What the pod with that number wants of portmap and bandwidth: without a wish these plugins do nothing.
fn wishes(number: usize) -> Value {
    json!({
        "portMappings": [{ "hostPort": 20_000 + number, "containerPort": 80, "protocol": "tcp" }],
        "bandwidth": {
            "ingressRate": 1_000_000_000, "ingressBurst": 10_000_000,
            "egressRate": 1_000_000_000, "egressBurst": 10_000_000,
        },
    })
}

/// Runs a program to its end with nothing around it that would cost time, and returns what it printed.
pub(super) fn execute(program: &PathBuf, env: &[(&str, OsString)], stdin: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program may end without reading.
        let _ = pipe.write_all(stdin);
    }
    let mut printed = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut printed).context("read what a program prints")?;
    }
    let status = child.wait().context("wait for a program")?;
    if !status.success() {
        bail!("{}: {status}: {}", program.display(), String::from_utf8_lossy(&printed).trim());
    }
    Ok(printed)
}
