//! What can go wrong on the command line.

use std::io;

use weft_cni::client::ClientError;

use super::connectivity::ConnectivityError;

/// The command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("agent not running at {socket}: start weft-agent, or name its run directory with --run-dir")]
    Away { socket: String },
    #[error("no permission for {socket}: run as root")]
    Forbidden { socket: String },
    #[error(transparent)]
    Client(ClientError),
    #[error("no endpoint is {name:?}: `weft endpoint list` shows them")]
    NoEndpoint { name: String },
    #[error("{name:?} is more than one endpoint: say which of {}", candidates.join(", "))]
    Ambiguous { name: String, candidates: Vec<String> },
    #[error("--{direction}-burst needs a rate: give --{direction} in bits a second as well")]
    BurstAlone { direction: &'static str },
    #[error("no map {name:?}: `weft map list` names them")]
    NoMap { name: String },
    #[error("the agent stopped; it sends no more")]
    Ended,
    #[error("the agent's answer broke off")]
    Broken(#[source] io::Error),
    #[error("the agent's answer is not understood: use the `weft` of the agent's version")]
    Decode(#[source] serde_json::Error),
    #[error(transparent)]
    Connectivity(#[from] ConnectivityError),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Away { socket, .. } => Self::Away { socket: socket.display().to_string() },
            ClientError::Connect { socket, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::Forbidden { socket: socket.display().to_string() }
            }
            error => Self::Client(error),
        }
    }
}
