//! Everything that can go wrong, and the one place where it becomes a code of the specification.

use std::error::Error;

use crate::api::{ApiError, ErrorKind};
use crate::client::ClientError;
use crate::command::check::Difference;
use crate::ipam::delegate::DelegateError;
use crate::link::netlink::NetlinkError;
use crate::link::netns::NetnsError;
use crate::link::pod::PodSideError;
use crate::link::veth::VethError;
use crate::spec::args::ArgsError;
use crate::spec::conf::ConfError;
use crate::spec::document::DocumentError;
use crate::spec::env::EnvError;
use crate::spec::error::{ErrorReply, code};
use crate::spec::prev_result::PrevResultError;
use crate::spec::version::Version;
use crate::spool::SpoolError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Environment(#[from] EnvError),
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Conf(#[from] ConfError),
    #[error("{name} needs cniVersion {needs} or newer, the configuration says {version}")]
    TooOldFor { name: &'static str, needs: Version, version: Version },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("{ifname} exists in {netns} already: choose another CNI_IFNAME or remove it")]
    InterfaceExists { ifname: String, netns: String },
    #[error("{host_ifname}, the node's end of this attachment, exists already: a DEL of the attachment removes it")]
    HostInterfaceExists { host_ifname: String },
    #[error("making the veth pair {host_ifname} failed: {source}")]
    Veth { host_ifname: String, source: VethError },
    #[error(transparent)]
    PodSide(#[from] PodSideError),
    #[error("the agent leased no address: give it a pool or the configuration an ipam")]
    NoAddress,
    #[error("mtu is {0}, but IPv6 needs at least 1280 bytes")]
    MtuForIpv6(u32),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the pod's interface is not as ADD left it: {}", list(.0))]
    Differences(Vec<Difference>),
    #[error("the agent is not ready: {}", .0.join("; "))]
    NotReady(Vec<String>),
    #[error("the agent cannot be asked for its status")]
    NoStatus(#[source] ClientError),
    #[error("not everything could be removed: {}", .0.join("; "))]
    GcIncomplete(Vec<String>),
    #[error("the result could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// What failed first, and what failed after it.
    #[error("{first}")]
    Several { first: Box<Failure>, more: Vec<Failure> },
}

impl From<PrevResultError> for Failure {
    fn from(error: PrevResultError) -> Self {
        Self::Conf(error.into())
    }
}

impl Failure {
    /// Success if there are none, else the first one with the others attached.
    pub(super) fn gather(failures: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        let mut failures = failures.into_iter();
        failures.next().map_or(Ok(()), |first| Err(first.and(failures)))
    }

    /// This failure, with what failed after it attached.
    pub(super) fn and(self, more: impl IntoIterator<Item = Self>) -> Self {
        let more: Vec<_> = more.into_iter().collect();
        if more.is_empty() { self } else { Self::Several { first: Box::new(self), more } }
    }

    /// The error object.
    pub(super) fn reply(&self, version: Version) -> ErrorReply {
        let mut details = self.causes();
        if let Self::Several { first, more } = self {
            details.extend(first.causes());
            for failure in more {
                details
                    .push(std::iter::once(failure.to_string()).chain(failure.causes()).collect::<Vec<_>>().join(": "));
            }
        }
        ErrorReply {
            cni_version: version.to_string(),
            code: self.code(),
            msg: self.to_string(),
            details: details.join("; "),
        }
    }

    fn code(&self) -> u32 {
        match self {
            Self::TooOldFor { .. } | Self::Document(DocumentError::Version(_)) => code::INCOMPATIBLE_VERSION,
            Self::Conf(ConfError::Unsupported { .. }) => code::UNSUPPORTED_FIELD,
            Self::Environment(_) | Self::Args(_) => code::INVALID_ENVIRONMENT,
            Self::Document(DocumentError::Read(_)) | Self::Spool(_) => code::IO,
            Self::Document(DocumentError::NotAnObject)
            | Self::Conf(_)
            | Self::MtuForIpv6(_)
            | Self::Delegate(DelegateError::NotFound { .. }) => code::INVALID_CONFIG,
            Self::Document(_) => code::UNDECODABLE,
            Self::Client(error) => of_client(error),
            Self::NotReady(_) | Self::NoStatus(_) => code::NOT_AVAILABLE,
            Self::NoAddress | Self::GcIncomplete(_) | Self::Encode(_) => code::AGENT,
            Self::Differences(_) => code::MISMATCH,
            Self::InterfaceExists { .. } | Self::HostInterfaceExists { .. } => code::EXISTS,
            Self::Delegate(DelegateError::Reported { error, .. }) => error.code,
            Self::Delegate(_) => code::DELEGATE,
            Self::Netns(error) | Self::PodSide(PodSideError::Netns(error)) => of_netns(error),
            Self::Netlink(_) | Self::Veth { .. } | Self::PodSide(_) => code::KERNEL,
            Self::Several { first, .. } => first.code(),
        }
    }

    /// What the sources say, outermost first. A source whose text is part of its error's is not said again.
    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        if let Self::Delegate(DelegateError::Reported { error, .. }) = self {
            causes.extend(Some(error.details.clone()).filter(|details| !details.is_empty()));
        }
        let mut said = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !said.ends_with(&text) {
                causes.push(text.clone());
            }
            said = text;
            source = error.source();
        }
        causes
    }
}

fn of_netns(error: &NetnsError) -> u32 {
    match error {
        NetnsError::NotFound(_) => code::UNKNOWN_CONTAINER,
        NetnsError::Open { .. } | NetnsError::NotANamespace { .. } | NetnsError::Own(_) => code::INVALID_ENVIRONMENT,
        NetnsError::Enter { .. } | NetnsError::Call { .. } => code::KERNEL,
    }
}

fn of_client(error: &ClientError) -> u32 {
    match error {
        ClientError::Api(ApiError { kind, .. }) => match kind {
            ErrorKind::Invalid => code::INVALID_CONFIG,
            ErrorKind::NotFound => code::UNKNOWN_CONTAINER,
            ErrorKind::Exists => code::EXISTS,
            ErrorKind::AddressUnavailable => code::ADDRESS_UNAVAILABLE,
            ErrorKind::PoolExhausted => code::POOL_EXHAUSTED,
            ErrorKind::PortTaken => code::PORT_TAKEN,
            ErrorKind::Mismatch => code::MISMATCH,
            ErrorKind::Busy => code::TRY_AGAIN,
            ErrorKind::Io => code::IO,
            ErrorKind::Kernel => code::AGENT,
        },
        ClientError::Away { .. } | ClientError::Broken { .. } | ClientError::Timeout { .. } => code::TRY_AGAIN,
        ClientError::Connect { .. } => code::IO,
        ClientError::Protocol { .. } | ClientError::Encode { .. } => code::AGENT,
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
