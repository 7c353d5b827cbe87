//! What the agent begins with, and whom it follows from there on.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;
use weft_cni::api::ProxyStatus;

use crate::cluster::{Cache, Cluster, Known, Troubles};
use crate::config::Config;
use crate::k8s::{self, OwnNode, Pods, Report, Watching};
use crate::node::{Node, NodeError};
use crate::peer::{Listing, PeersFile, Services};
use crate::run_dir::RunDir;
use crate::text;

/// What the agent begins with.
pub(super) struct Outset {
    /// Pod ranges of this node, as far as they are known.
    pub(super) ranges: Vec<IpNet>,
    /// Its addresses as others know them, where an older agent has noted them.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) lists: watch::Receiver<Listing>,
    pub(super) services: watch::Receiver<Services>,
    pub(super) following: Following,
}

/// Whom the agent follows.
pub(super) enum Following {
    Nothing,
    File(PeersFile, watch::Sender<Listing>),
    Cluster(Box<Member>),
}

/// A node of a cluster.
pub(super) struct Member {
    pub(super) own: watch::Receiver<OwnNode>,
    pub(super) pods: watch::Receiver<Arc<Pods>>,
    pub(super) report: Report,
    pub(super) view: Rc<k8s::View>,
    pub(super) proxy: watch::Sender<Option<ProxyStatus>>,
    pub(super) troubles: Rc<Troubles>,
    pub(super) cache: Cache,
    /// What is in force at the outset.
    pub(super) known: Known,
    /// Whether the configuration names the ranges.
    configured: bool,
    /// Whether an agent has been here in this boot.
    pub(super) kept: bool,
}

impl Outset {
    /// From the configuration, and from what an older agent has noted; begins to learn of the cluster, if there is one.
    pub(super) fn of(config: &Config, run_dir: &RunDir, boot: &str, stopping: &watch::Receiver<bool>) -> Self {
        let Some(kubernetes) = config.kubernetes.clone() else { return Self::alone(config) };
        let cache = Cache::new(run_dir, &config.node_name, boot);
        let noted = cache.read();
        let kept = noted.is_some();
        let Known { mut ranges, addresses } = noted.unwrap_or_default();
        let configured = !config.pod_cidrs.is_empty();
        if configured {
            ranges.clone_from(&config.pod_cidrs);
        }
        let cached_ranges = (!ranges.is_empty()).then(|| ranges.clone().into());
        let cached = OwnNode { ranges: cached_ranges, addresses: addresses.clone(), problem: None };
        let (node_name, pod_cidrs) = (config.node_name.clone(), config.pod_cidrs.clone());
        let watching = k8s::start(k8s::Start { config: kubernetes, node_name, pod_cidrs, cached });
        let Watching { own, peers, services, pods, report, view, task } = watching;
        super::until(stopping, task);
        let known = Known { ranges: ranges.clone(), addresses: addresses.clone() };
        let (proxy, troubles) = (watch::Sender::default(), Rc::default());
        let member = Member { own, pods, report, view, proxy, troubles, cache, known, configured, kept };
        Self { ranges, addresses, lists: peers, services, following: Following::Cluster(Box::new(member)) }
    }

    fn alone(config: &Config) -> Self {
        let ranges = config.pod_cidrs.clone();
        let services = watch::channel(Services::None).1;
        let Some(path) = config.network.peers.clone() else {
            let lists = watch::channel(Listing { known: Some(Arc::default()), problem: None }).1;
            return Self { ranges, addresses: Vec::new(), lists, services, following: Following::Nothing };
        };
        let file = PeersFile { path, own_name: config.node_name.clone(), own_ranges: ranges.clone() };
        let sender = watch::Sender::new(file.read(&Listing::default()));
        let lists = sender.subscribe();
        Self { ranges, addresses: Vec::new(), lists, services, following: Following::File(file, sender) }
    }

    /// Prepares the node for the ranges. Noted ones that do not fit any more are forgotten.
    ///
    /// # Errors
    /// As of [`Node::prepare`].
    pub(super) async fn prepare(&mut self, node: &Node) -> Result<(), NodeError> {
        let prepared = node.prepare(&self.ranges).await;
        let Err(error) = prepared else { return Ok(()) };
        match &mut self.following {
            Following::Cluster(member) if !member.configured && !self.ranges.is_empty() => {
                log::warn!("pod ranges of an older agent are not used: {}", text::chain(&error));
                self.ranges.clear();
                member.known.ranges.clear();
                node.prepare(&[]).await
            }
            _ => Err(error),
        }
    }
}

impl Following {
    pub(super) fn member(&self) -> Option<&Member> {
        if let Self::Cluster(member) = self { Some(member) } else { None }
    }
}

impl Member {
    /// What the agent tells of it.
    pub(super) fn tell(&self, ready: watch::Receiver<bool>) -> Cluster {
        Cluster {
            own: self.own.clone(),
            pods: self.pods.clone(),
            ready,
            view: Rc::clone(&self.view),
            proxy: self.proxy.subscribe(),
            troubles: Rc::clone(&self.troubles),
        }
    }
}
