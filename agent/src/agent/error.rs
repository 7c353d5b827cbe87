//! Why the agent cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::datapath::DatapathError;
use crate::endpoint::{RestoreError, StoreError};
use crate::node::NodeError;
use crate::peer::NetworkError;
use crate::run_dir::RunDirError;

/// The agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// This boot has no name.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node cannot be made what the records say.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The programs or maps cannot be brought up.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The thread that brings them up is gone.
    #[error("loading the programs was abandoned")]
    Abandoned(#[from] tokio::task::JoinError),
    /// The node's devices and routes cannot be brought up.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The ways off the node cannot be brought up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The socket cannot be made.
    #[error("cannot listen on {}{}", path.display(), crate::run_dir::remedy(source))]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Health and metrics cannot be served.
    #[error("cannot listen on {listen}: choose another --listen")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
