//! What can go wrong between the agent and the API server.

use std::io;
use std::path::PathBuf;

use hyper_util::client::legacy;

/// The API server was not reached, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum K8sError {
    /// The account's files are not there.
    #[error("cannot read {}: mount the service account there, or say with service-account where it is", path.display())]
    Account {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token cannot be sent.
    #[error("{} holds no token", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The CA cannot be trusted.
    #[error("{} holds no CA certificate that can be used", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::Error>,
    },
    /// A request cannot be built.
    #[error("cannot ask")]
    Request(#[from] hyper::http::Error),
    /// A request cannot be built.
    #[error("cannot ask")]
    Parameters(#[from] kube::core::request::Error),
    /// There is no connection.
    #[error("cannot be reached")]
    Unreachable(#[source] legacy::Error),
    /// Nothing came.
    #[error("does not answer: nothing came within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke under an answer.
    #[error("broke off its answer")]
    Broken(#[source] hyper::Error),
    /// The stream ended inside an event.
    #[error("ended a stream in the middle of an event")]
    Truncated,
    /// More than any answer has.
    #[error("sends more than {most} bytes at once")]
    TooLong {
        /// Bytes that are taken.
        most: usize,
    },
    /// Not what a server of Kubernetes says.
    #[error("does not answer as Kubernetes does")]
    Garbage(#[source] serde_json::Error),
    /// Of another kind than was asked for.
    #[error("answers with {found:?} where {expected} was asked for")]
    Kind {
        /// The kind that was asked for.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// The token is not accepted.
    #[error("does not accept the service account's token (401): {message}")]
    Unauthorized {
        /// Its own words.
        message: String,
    },
    /// The account lacks a right.
    #[error("refuses (403): {message}; apply weft's ClusterRole and its binding")]
    Forbidden {
        /// Its own words.
        message: String,
    },
    /// Another refusal.
    #[error("answers {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// Its own words.
        message: String,
    },
    /// Asked for what it has forgotten: everything is to be listed again.
    #[error("has forgotten what was asked for (410): {message}")]
    Gone {
        /// Its own words.
        message: String,
    },
}

impl K8sError {
    /// Of what the server says with that status.
    pub(super) fn status(code: u16, message: String) -> Self {
        match code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { message },
            410 => Self::Gone { message },
            code => Self::Refused { code, message },
        }
    }
}
