//! A pod: a network namespace that the real plugin has attached.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_cni::api::AttachmentKey;
use weft_cni::mac::Mac;

use crate::netns::Netns;
use crate::node::{Family, Node};
use crate::runtime::{Attachment, Network};
use crate::site::Site;

/// A namespace for a pod, not attached to anything.
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace.
    pub netns: Netns,
    /// What a runtime calls it, with interface `eth0`.
    pub attachment: Attachment,
    _site: Arc<Site>,
}

impl Sandbox {
    /// A fresh namespace on the node's site.
    pub fn new(node: &Node) -> Result<Self> {
        let sandbox = Self::on(Arc::clone(node.site()))?;
        // Pods are below the root of cgroups as the node's own processes are.
        let netns = sandbox.netns.in_cgroup(node.netns().cgroup().map(Arc::clone));
        Ok(Self { netns, ..sandbox })
    }

    /// A fresh namespace.
    pub fn on(site: Arc<Site>) -> Result<Self> {
        let name = site.unique("p");
        Self::named(site, &name)
    }

    /// A fresh namespace of this name, which begins with the site's.
    pub fn named(site: Arc<Site>, name: &str) -> Result<Self> {
        let netns = Netns::create(name)?;
        let path = netns.path().to_owned();
        let attachment =
            Attachment { container_id: name.to_owned(), netns: path, ifname: "eth0".into(), args: String::new() };
        Ok(Self { netns, attachment, _site: site })
    }
}

/// A sandbox with an interface.
#[derive(Debug)]
pub struct Pod {
    sandbox: Sandbox,
    network: Network,
    result: Value,
}

impl Pod {
    /// A fresh namespace, attached by ADD.
    pub fn attach(node: &Node, network: &Network) -> Result<Self> {
        Self::attach_as(node, network, Sandbox::new(node)?)
    }

    /// Attaches a sandbox by ADD.
    pub fn attach_as(node: &Node, network: &Network, sandbox: Sandbox) -> Result<Self> {
        let result = network.add(node.netns(), &sandbox.attachment)?;
        Ok(Self { sandbox, network: network.clone(), result })
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.sandbox.netns
    }

    /// What the runtime calls it.
    pub fn attachment(&self) -> &Attachment {
        &self.sandbox.attachment
    }

    /// What the agent calls it.
    pub fn key(&self) -> AttachmentKey {
        let Attachment { container_id, ifname, .. } = self.attachment().clone();
        AttachmentKey { container_id, ifname }
    }

    /// The network that it is attached to.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What ADD printed.
    pub fn result(&self) -> &Value {
        &self.result
    }

    /// Its address of this family, from the result of ADD.
    pub fn address(&self, family: Family) -> Result<IpAddr> {
        addresses(&self.result)?
            .into_iter()
            .find(|address| family.has(address))
            .with_context(|| format!("no {family:?} address in {}", self.result))
    }

    /// The MAC of its interface.
    pub fn mac(&self) -> Result<Mac> {
        let inside = self.interfaces()?.iter().find(|interface| interface["sandbox"].is_string());
        Ok(inside.and_then(|interface| interface["mac"].as_str()).context("no MAC in the result")?.parse()?)
    }

    /// The host end of its veth, from the result of ADD.
    pub fn host_ifname(&self) -> Result<String> {
        let outside = self.interfaces()?.iter().find(|interface| !interface["sandbox"].is_string());
        Ok(outside.and_then(|interface| interface["name"].as_str()).context("no host interface in the result")?.into())
    }

    fn interfaces(&self) -> Result<&Vec<Value>> {
        self.result["interfaces"].as_array().context("no interfaces in the result")
    }

    /// DEL as a runtime does it, with the cached result. The namespace stays.
    pub fn del(&self, node: &Node) -> Result<()> {
        self.network.del(node.netns(), self.attachment(), Some(&self.result))
    }

    /// CHECK with the cached result.
    pub fn check(&self, node: &Node) -> Result<()> {
        self.network.check(node.netns(), self.attachment(), &self.result)
    }
}

/// Addresses in a result of CNI 0.3.0 or newer.
pub fn addresses(result: &Value) -> Result<Vec<IpAddr>> {
    let ips = result["ips"].as_array().with_context(|| format!("no ips in {result}"))?;
    ensure!(!ips.is_empty(), "no address in {result}");
    ips.iter()
        .map(|ip| {
            let text = ip["address"].as_str().with_context(|| format!("no address in {ip}"))?;
            let (address, _prefix) = text.split_once('/').with_context(|| format!("no prefix in {text}"))?;
            Ok(address.parse()?)
        })
        .collect()
}
