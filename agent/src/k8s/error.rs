//! What can go wrong between the agent and the API server.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;
use tower_http::timeout::TimeoutError;

/// Of what a server says so many characters are shown; a page of HTML has more.
const SHOWN: usize = 300;
/// How long an answer may pause. Servers send a bookmark about every minute.
pub(super) const QUIET: Duration = Duration::from_secs(90);

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
    #[error("cannot be reached where api-server says it is")]
    Unreachable(#[source] Source),
    /// Its certificate is of another time.
    #[error("shows a certificate that is not valid now: compare this node's clock with the API server's")]
    Clock(#[source] Source),
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
    /// It refuses, and says why.
    #[error("{}", refusal(*code, message))]
    Refused {
        /// HTTP status.
        code: u16,
        /// Its own words.
        message: String,
    },
}

impl K8sError {
    /// Asked for what it has forgotten: everything is to be listed again.
    pub(super) const GONE: u16 = 410;

    fn broken(source: Source) -> Self {
        if find(&*source, paused) {
            return Self::Silent { seconds: QUIET.as_secs() };
        }
        Self::Broken(plain(source))
    }
}

fn refusal(code: u16, message: &str) -> String {
    match code {
        401 => format!("does not accept the service account's token (401): {message}"),
        403 => format!("refuses (403): {message}; apply weft's ClusterRole and its binding"),
        code => format!("answers {code}: {message}"),
    }
}

impl From<Status> for K8sError {
    fn from(Status { code, message, .. }: Status) -> Self {
        Self::Refused { code, message: message.chars().take(SHOWN).collect() }
    }
}

impl From<kube::Error> for K8sError {
    fn from(error: kube::Error) -> Self {
        match error {
            // What is an object, and not the one that was asked for, is an empty status to the client.
            kube::Error::Api(status) if status.code == 0 => Self::Garbage("an object cannot be read".into()),
            kube::Error::Api(status) => (*status).into(),
            kube::Error::SerdeError(source) => Self::Garbage(source.into()),
            kube::Error::FromUtf8(source) => Self::Garbage(source.into()),
            kube::Error::HyperError(source) => Self::broken(source.into()),
            kube::Error::ReadEvents(source) => Self::broken(source.into()),
            // One client hands on what another, or the way there, has found.
            kube::Error::Service(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => match source.downcast::<kube::Error>() {
                    Ok(inner) => (*inner).into(),
                    Err(source) if find(&*source, of_another_time) => Self::Clock(source),
                    Err(source) => Self::Unreachable(plain(source)),
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

/// Whether an error or one of its sources is such a one.
fn find(error: &(dyn Error + 'static), such: fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if such(error) {
            return true;
        }
        next = match error.downcast_ref::<io::Error>() {
            // Its source is the source of what it holds.
            Some(error) => error.get_ref().map(|held| held as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

fn paused(error: &(dyn Error + 'static)) -> bool {
    error.is::<TimeoutError>()
}

fn of_another_time(error: &(dyn Error + 'static)) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error.downcast_ref(),
        Some(rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        ))
    )
}

/// Without what rustls tells programmers of connections that just end, as they do when a server restarts.
fn plain(source: Source) -> Source {
    let ended = |error: &(dyn Error + 'static)| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    };
    if find(&*source, ended) { io::Error::other("the connection ended").into() } else { source }
}
