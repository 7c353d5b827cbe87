//! Nodes of a fabric as nodes of a Kubernetes cluster, whose API server is the double.

mod large;
mod object;
mod role;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::apiserver::{ApiServer, NODES};
use crate::fabric::{Fabric, Layout, Member};
use crate::node::{Family, Joined};
use crate::pod::{Pod, Sandbox};
use crate::site::Site;
use crate::traffic::ping;
use crate::{exec, storm, wait};

pub(crate) use large::conditions;
pub use large::large_node;
pub use object::{TAINT, node, pod, put_stranger, service};
pub use role::granted;

/// A fabric and its API server, which listens at the router's address; everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    server: ApiServer,
    fabric: Fabric,
}

/// Where the API server listens: the router on the nodes' own link.
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 6443);

/// How soon what the API server tells is to be done.
pub const SOON: Duration = Duration::from_secs(5);

impl Cluster {
    /// A cluster whose agents are ready.
    pub fn start(layout: Layout) -> Result<Self> {
        let cluster = Self::lay(&Site::of_tests()?, layout)?;
        cluster.start_agents()?;
        Ok(cluster)
    }

    /// A cluster without agents, whose API server has each node's object and nothing else.
    pub fn lay(site: &Arc<Site>, layout: Layout) -> Result<Self> {
        let address = SocketAddr::from(SERVER);
        let fabric = Fabric::lay(site, layout.api_server(&format!("https://{address}")))?;
        let server = ApiServer::start(fabric.core().netns(), address)?;
        let cluster = Self { server, fabric };
        // No cluster is without it.
        cluster.server.put(service("default", "kubernetes", &["10.96.0.1"]))?;
        cluster.server.put_all(cluster.fabric.members().iter().map(|member| cluster.object(member)))?;
        cluster.hand_out_account()?;
        Ok(cluster)
    }

    /// Starts every agent and waits until all are ready and know each other.
    pub fn start_agents(&self) -> Result<()> {
        let started = storm::all_at_once(self.fabric.members(), |member| member.node().start_agent().map(drop));
        started.into_iter().collect::<Result<()>>()?;
        for member in self.fabric.members() {
            let others = self.fabric.members().len() - 1;
            wait::until("the nodes know each other", SOON, || Ok(peers(member)?.len() == others))?;
        }
        Ok(())
    }

    /// The API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// What lies below.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The node of that number, from 1.
    pub fn member(&self, number: usize) -> &Member {
        self.fabric.member(number)
    }

    /// A node's object as the kubelet registers it, with the taint that waits for the agent.
    pub fn object(&self, member: &Member) -> Value {
        let settings = member.node().settings();
        let addresses = Family::BOTH.map(|family| member.address(family));
        node(&settings.node_name, &settings.pod_cidrs, &addresses)
    }

    /// A node's object as it is now.
    pub fn stored(&self, member: &Member) -> Result<Value> {
        let name = &member.node().settings().node_name;
        self.server.get(NODES, "", name).with_context(|| format!("there is no node {name}"))
    }

    /// Gives every node the token and the authority's certificate of now.
    pub fn hand_out_account(&self) -> Result<()> {
        self.fabric.members().iter().try_for_each(|member| self.server.write_service_account(&joined(member)?.account))
    }

    /// Packets to the API server and from it are lost from now on, and nobody is told.
    pub fn cut(&self) -> Result<()> {
        let port = SERVER.1;
        let chain = |hook: &str, side: &str| {
            format!(
                "add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}\n\
                     add rule inet cut {hook} tcp {side} {port} drop\n"
            )
        };
        let script = format!("add table inet cut\n{}{}", chain("input", "dport"), chain("output", "sport"));
        exec::tool_in(self.fabric.core().netns(), "nft", &[&script]).map(drop)
    }

    /// They get through again.
    pub fn mend(&self) -> Result<()> {
        exec::tool_in(self.fabric.core().netns(), "nft", &["delete table inet cut"]).map(drop)
    }

    /// A pod as scheduler, kubelet and runtime make it: its object first, then its sandbox.
    pub fn pod(&self, member: &Member, namespace: &str, name: &str) -> Result<Pod> {
        let node = member.node();
        self.server.put(pod(namespace, name, &node.settings().node_name))?;
        self.run_pod(member, namespace, name)
    }

    /// A pod's sandbox alone.
    pub fn run_pod(&self, member: &Member, namespace: &str, name: &str) -> Result<Pod> {
        let node = member.node();
        let mut sandbox = Sandbox::new(node)?;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=uid-of-{name}",
            sandbox.attachment.container_id
        );
        sandbox.attachment = sandbox.attachment.args(&arguments);
        Pod::attach_as(node, &node.network(), sandbox)
    }
}

/// Starts a node's agent without waiting for more than its socket.
pub fn launch(member: &Member) -> Result<()> {
    let mut command = member.node().agent_command()?;
    command.args(member.node().dir_flags());
    member.node().launch(&mut command)?;
    wait::until("the agent answers", wait::patience(Duration::from_secs(20)), || {
        Ok(member.node().api("GET", "/v1/status", None).is_ok())
    })
    .with_context(|| member.node().agent_log())
    .map(drop)
}

/// Fails unless all of these pods reach all by all their addresses.
pub fn all_talk(pods: &[Pod]) -> Result<()> {
    for (one, other) in pods.iter().flat_map(|one| pods.iter().map(move |other| (one, other))) {
        for family in Family::BOTH {
            ping::must_reach(one.netns(), other.address(family)?)?;
        }
    }
    Ok(())
}

/// Whether a node knows another one.
pub fn knows(member: &Member, name: &str) -> Result<bool> {
    Ok(peers(member)?.iter().any(|peer| peer == name))
}

/// How a member belongs to its cluster.
pub fn joined(member: &Member) -> Result<&Joined> {
    member.node().settings().cluster.as_ref().context("a node of no cluster")
}

/// The network configuration on a node, if it is there.
pub fn conflist(member: &Member) -> Result<PathBuf> {
    let path = joined(member)?.conflist();
    ensure!(fs::exists(&path)?, "{} is not there", path.display());
    Ok(path)
}

/// Names of the peers that a node knows.
pub fn peers(member: &Member) -> Result<Vec<String>> {
    let peers = member.weft(&["peer", "list"])?;
    let peers = peers.as_array().context("no list of peers")?;
    Ok(peers.iter().filter_map(|peer| peer["name"].as_str()).map(str::to_owned).collect())
}

/// Every sentence of the status about what is wrong.
pub fn problems(member: &Member) -> Result<Vec<String>> {
    // `weft status` fails while the node is not ready.
    let status = member.node().api("GET", "/v1/status", None)?.json;
    let problems = status["problems"].as_array().context("no list of problems")?;
    Ok(problems.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// What the status says of the cluster.
pub fn status(member: &Member) -> Result<Value> {
    let status = member.node().api("GET", "/v1/status", None)?.json;
    Ok(status["kubernetes"].clone())
}
