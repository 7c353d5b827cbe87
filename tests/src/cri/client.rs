//! What a kubelet asks of the runtime.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use serde_json::Value;

use super::grpc::Connection;
use super::message::{
    Empty, ListPodSandboxRequest, ListPodSandboxResponse, PodSandboxConfig, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RunPodSandboxRequest, RuntimeCondition, SandboxId, StatusRequest, StatusResponse,
};

/// A connection to a runtime's CRI socket.
#[derive(Debug)]
pub struct Client(Connection);

/// A sandbox as its runtime describes it.
#[derive(Debug)]
pub struct Sandbox {
    /// Its number, `CNI_CONTAINERID` to plugins.
    pub id: String,
    /// Its addresses, the one that the runtime prefers first.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace in the runtime's mount namespace, `CNI_NETNS` to plugins.
    pub netns: PathBuf,
}

impl Client {
    /// Connects to a runtime's socket.
    pub fn connect(socket: &Path) -> Result<Self> {
        Connection::open(socket).map(Self)
    }

    /// The runtime's conditions, `NetworkReady` among them.
    pub fn conditions(&self) -> Result<Vec<RuntimeCondition>> {
        let reply: StatusResponse = self.call("Status", &StatusRequest {})?;
        Ok(reply.status.context("the runtime told no status")?.conditions)
    }

    /// Makes a pod's sandbox and returns its number.
    pub fn run(&self, pod: PodSandboxConfig) -> Result<String> {
        let reply: SandboxId = self.call("RunPodSandbox", &RunPodSandboxRequest { config: Some(pod) })?;
        Ok(reply.pod_sandbox_id)
    }

    /// A sandbox's addresses and namespace.
    pub fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let reply: PodSandboxStatusResponse = self.call("PodSandboxStatus", &request)?;
        let network = reply.status.and_then(|status| status.network).context("the sandbox has no network")?;
        let addresses = [network.ip].into_iter().chain(network.additional_ips.into_iter().map(|address| address.ip));
        let info = reply.info.get("info").context("the runtime told nothing of its own")?;
        Ok(Sandbox {
            id: id.to_owned(),
            addresses: addresses.map(|text| text.parse().with_context(|| text)).collect::<Result<_>>()?,
            netns: netns(&serde_json::from_str(info).context("the runtime's own knowledge")?)?,
        })
    }

    /// Stops a sandbox: its processes end and its network is taken down.
    pub fn stop(&self, id: &str) -> Result<()> {
        self.call("StopPodSandbox", &SandboxId { pod_sandbox_id: id.to_owned() }).map(|Empty {}| ())
    }

    /// Forgets a stopped sandbox.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.call("RemovePodSandbox", &SandboxId { pod_sandbox_id: id.to_owned() }).map(|Empty {}| ())
    }

    /// The number of every sandbox that the runtime knows, stopped ones among them.
    pub fn sandboxes(&self) -> Result<Vec<String>> {
        let reply: ListPodSandboxResponse = self.call("ListPodSandbox", &ListPodSandboxRequest {})?;
        Ok(reply.items.into_iter().map(|sandbox| sandbox.id).collect())
    }

    fn call<Reply: Message + Default>(&self, method: &str, request: &(impl Message + fmt::Debug)) -> Result<Reply> {
        self.0.call(&format!("runtime.v1.RuntimeService/{method}"), request)
    }
}

/// The network namespace in the OCI specification that the runtime ran.
fn netns(info: &Value) -> Result<PathBuf> {
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().context("the sandbox has no namespaces")?;
    let network = namespaces.iter().find(|namespace| namespace["type"] == "network");
    let path = network.and_then(|namespace| namespace["path"].as_str());
    path.map(PathBuf::from).context("the sandbox has no network namespace")
}
