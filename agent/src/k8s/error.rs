//! What can go wrong between the agent and the API server.

/// The API server was not reached, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum K8sError {}
