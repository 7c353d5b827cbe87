//! What the agent tells of its connection to the cluster.

use std::cell::RefCell;

use weft_cni::api::KubernetesStatus;

/// The newest state, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(super) state: RefCell<KubernetesStatus>,
}

impl View {
    /// Everything but the unmanaged pods and the conflist, which others know.
    pub(crate) fn status(&self) -> KubernetesStatus {
        self.state.borrow().clone()
    }

    /// What is wrong, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state.borrow().problem.iter().cloned().collect()
    }
}
