//! What can go wrong between the agent and bpf(2).

/// A call into the kernel's BPF failed, or it lacks something.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {}
