//! Kubernetes: objects in, desired state out. Sees neither the datapath nor devices nor endpoints.

mod error;
mod model;
mod report;
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
        first.ranges = Some(start.pod_cidrs.into());
    }
    let view = Rc::new(View::default());
    Watching {
        own: watch::Sender::new(first).subscribe(),
        peers: watch::Sender::new(Listing::default()).subscribe(),
        services: watch::Sender::new(Services::Unknown).subscribe(),
        pods: watch::Sender::new(Arc::default()).subscribe(),
        report: Report {},
        view,
        task: std::future::pending().boxed_local(),
    }
}
