//! Kubernetes: objects in, desired state out. Sees neither the datapath nor devices nor endpoints.

mod client;
mod error;
mod follow;
mod model;
mod node;
mod objects;
mod peers;
mod pod;
mod quantity;
mod report;
mod service;
#[cfg(test)]
mod tests;
mod view;

use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use ipnet::IpNet;
use tokio::sync::watch;

use crate::config::KubernetesConfig;
use crate::peer::{Listing, Services};

pub(crate) use error::K8sError;
pub(crate) use model::{OwnNode, Phase, Pod, PodName, Pods};
pub(crate) use report::{Report, withdraw};
pub(crate) use view::View;

use client::ApiServer;
use follow::follow;
use node::Nodes;
use pod::OwnPods;
use service::AllServices;

/// What is learnt of the cluster, as it is learnt. Every channel ends with the task.
pub(crate) struct Watching {
    /// This node.
    pub(crate) own: watch::Receiver<OwnNode>,
    /// Every other node.
    pub(crate) peers: watch::Receiver<Listing>,
    /// Addresses of services.
    pub(crate) services: watch::Receiver<Services>,
    /// Pods of this node.
    pub(crate) pods: watch::Receiver<Arc<Pods>>,
    /// Tells the cluster that this node's network is up.
    pub(crate) report: Report,
    /// For whoever asks how it stands.
    pub(crate) view: Rc<View>,
    /// The work; to be run by `spawn_local` at once.
    pub(crate) task: LocalBoxFuture<'static, ()>,
}

/// What the watching begins with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) config: KubernetesConfig,
    /// Name of this node.
    pub(crate) node_name: String,
    /// This node's pod ranges where its configuration names them; its object's do not count then.
    pub(crate) pod_cidrs: Vec<IpNet>,
    /// What was known of this node when the agent last ran; stays until its object says otherwise.
    pub(crate) cached: OwnNode,
}

/// Prepares to learn of the cluster; nothing is asked before the task runs.
pub(crate) fn start(start: Start) -> Watching {
    let mut first = start.cached;
    if !start.pod_cidrs.is_empty() {
        first.ranges = Some(start.pod_cidrs.as_slice().into());
    }
    let view = Rc::new(View::new(start.config.api_server.to_string()));
    let api = ApiServer::new(start.config);
    let (marks, services) = (watch::Sender::new(None), watch::Sender::new(Services::Unknown));
    let nodes = Nodes {
        name: start.node_name.clone(),
        pod_cidrs: start.pod_cidrs,
        own: watch::Sender::new(first),
        peers: watch::Sender::default(),
        marks,
        view: Rc::clone(&view),
    };
    let services = AllServices { addresses: services, view: Rc::clone(&view) };
    let pods = OwnPods { node_name: start.node_name.clone(), pods: watch::Sender::default(), view: Rc::clone(&view) };
    let report = Report {
        api: Arc::clone(&api),
        node_name: start.node_name,
        marks: nodes.marks.subscribe(),
        view: Rc::clone(&view),
    };
    Watching {
        own: nodes.own.subscribe(),
        peers: nodes.peers.subscribe(),
        services: services.addresses.subscribe(),
        pods: pods.pods.subscribe(),
        report,
        view: Rc::clone(&view),
        task: async move {
            let nodes = follow(Arc::clone(&api), Rc::clone(&view), nodes);
            let services = follow(Arc::clone(&api), Rc::clone(&view), services);
            tokio::join!(nodes, services, follow(api, view, pods));
        }
        .boxed_local(),
    }
}

/// Sends what differs; whoever listens hears of nothing else.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, now: T) {
    sender.send_if_modified(|before| {
        let differs = *before != now;
        if differs {
            *before = now;
        }
        differs
    });
}
