//! What the agent of the node says of itself, where its run directory is mounted.

use std::path::Path;

use weft_cni::api::Status;
use weft_cni::client::Client;

use crate::connectivity::{Agent, AgentState};

use super::error::ConnectivityError;

pub(super) fn ask(question: &Agent) -> Result<AgentState, ConnectivityError> {
    let mut client = Client::new(Path::new(&question.run_dir).join("agent.sock"));
    let status: Status = client.get("/v1/status", std::time::Instant::now() + crate::cli::PATIENCE)?;
    Ok(AgentState {
        ready: status.ready,
        endpoints: status.endpoints,
        leased: status.pools.iter().map(|pool| pool.used).sum(),
        peers: status.network.peers,
        proxy: status.proxy.map(|proxy| proxy.mode),
        problems: status.problems,
    })
}
