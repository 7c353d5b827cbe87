//! Kubernetes: objects in, desired state out. Sees neither the datapath nor devices nor endpoints.

mod model;
mod view;

use std::rc::Rc;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use crate::peer::{Listing, Services};

pub(crate) use model::{OwnNode, Phase, Pod, PodName, Pods};
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
    /// For whoever asks how it stands.
    pub(crate) view: Rc<View>,
    /// The work; to be run by `spawn_local` at once.
    pub(crate) task: LocalBoxFuture<'static, ()>,
}
