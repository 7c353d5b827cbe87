//! What can go wrong between the agent and the API server.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use kube::core::Status;
use kube::runtime::watcher;

/// Bytes of what a server says that are shown; a page of HTML has more.
const SHOWN: usize = 300;

type Source = Box<dyn Error + Send + Sync>;

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
    #[error("cannot be asked")]
    Request(#[source] Box<kube::Error>),
    /// There is no connection.
    #[error("cannot be reached")]
    Unreachable(#[source] Source),
    /// Nothing came.
    #[error("does not answer: nothing came within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke under an answer.
    #[error("broke off its answer")]
    Broken(#[source] Source),
    /// Not what a server of Kubernetes says.
    #[error("does not answer as Kubernetes does")]
    Garbage(#[source] Source),
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

impl From<Status> for K8sError {
    fn from(Status { code, mut message, .. }: Status) -> Self {
        message.truncate(message.floor_char_boundary(SHOWN));
        match code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { message },
            410 => Self::Gone { message },
            code => Self::Refused { code, message },
        }
    }
}

impl From<kube::Error> for K8sError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (*status).into(),
            kube::Error::SerdeError(source) => Self::Garbage(source.into()),
            kube::Error::FromUtf8(source) => Self::Garbage(source.into()),
            kube::Error::HyperError(source) => Self::Broken(source.into()),
            kube::Error::ReadEvents(source) => Self::Broken(source.into()),
            // One client hands on what another, or the way there, has found.
            kube::Error::Service(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => match source.downcast::<kube::Error>() {
                    Ok(inner) => (*inner).into(),
                    Err(source) => Self::Unreachable(source),
                },
            },
            other => Self::Request(other.into()),
        }
    }
}

impl From<watcher::Error> for K8sError {
    fn from(error: watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(source)
            | watcher::Error::WatchStartFailed(source)
            | watcher::Error::WatchFailed(source) => source.into(),
            watcher::Error::WatchError(status) => (*status).into(),
            watcher::Error::NoResourceVersion => Self::Garbage(error.into()),
        }
    }
}
