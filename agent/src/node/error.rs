//! What can go wrong between the agent and the node's network devices.

/// A netlink request or a sysctl failed, or the node is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {}
