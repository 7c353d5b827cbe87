//! `weft-agent init`: what has to be there before the agent starts, and takes more rights than the agent has.

use crate::config::Config;

/// The node cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InitError {}

/// Mounts a BPF filesystem above the agent's BPF directory where there is none.
///
/// # Errors
///
/// There is none, and it cannot be mounted.
pub fn initialize(_config: &Config) -> Result<(), InitError> {
    Ok(())
}
