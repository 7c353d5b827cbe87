//! Errors as the socket tells them; the only place that maps one to the other.

use hyper::StatusCode;
use weft_cni::api::{ApiError, ErrorKind};

use crate::datapath::DatapathError;
use crate::endpoint::EndpointError;
use crate::ipam::IpamError;
use crate::kernel::KernelError;
use crate::text;

impl From<EndpointError> for ApiError {
    fn from(error: EndpointError) -> Self {
        let kind = match &error {
            EndpointError::Exists { .. } | EndpointError::NameTaken { .. } => ErrorKind::Exists,
            EndpointError::NotFound { .. } => ErrorKind::NotFound,
            EndpointError::Invalid { .. } | EndpointError::Port { .. } => ErrorKind::Invalid,
            EndpointError::PortOfPod { .. } | EndpointError::PortOfProcess { .. } => ErrorKind::PortTaken,
            EndpointError::Ipam(error) => kind_of(error),
            EndpointError::InUse { .. } => ErrorKind::AddressUnavailable,
            EndpointError::Store(_) => ErrorKind::Io,
            EndpointError::Attach { .. }
            | EndpointError::Remove { .. }
            | EndpointError::Sockets { .. }
            | EndpointError::Limit { .. } => ErrorKind::Kernel,
            EndpointError::NotWhole { .. } | EndpointError::NotReady { .. } | EndpointError::NotItsAddress { .. } => {
                ErrorKind::Mismatch
            }
        };
        Self { kind, message: text::chain(&error) }
    }
}

impl From<KernelError> for ApiError {
    fn from(error: KernelError) -> Self {
        let kind = match &error {
            // Asked for the entries of a map that has none.
            KernelError::Datapath(DatapathError::Stream { .. }) => ErrorKind::Invalid,
            _ => ErrorKind::Kernel,
        };
        Self { kind, message: text::chain(&error) }
    }
}

fn kind_of(error: &IpamError) -> ErrorKind {
    match error {
        IpamError::Outside { .. }
        | IpamError::Reserved { .. }
        | IpamError::InUse { .. }
        | IpamError::NotInRanges { .. }
        | IpamError::RangeOutside { .. } => ErrorKind::AddressUnavailable,
        IpamError::Duplicate { .. } | IpamError::Malformed { .. } => ErrorKind::Invalid,
        IpamError::NoRange => ErrorKind::Busy,
        IpamError::Exhausted { .. } | IpamError::RangesExhausted { .. } => ErrorKind::PoolExhausted,
    }
}

/// The HTTP status that goes with a kind of error: RFC 9110, section 15.
pub(super) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exists | ErrorKind::AddressUnavailable | ErrorKind::Mismatch | ErrorKind::PortTaken => {
            StatusCode::CONFLICT
        }
        ErrorKind::PoolExhausted | ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Io | ErrorKind::Kernel => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) fn invalid(message: String) -> ApiError {
    ApiError { kind: ErrorKind::Invalid, message }
}

pub(super) fn not_found(message: String) -> ApiError {
    ApiError { kind: ErrorKind::NotFound, message }
}
