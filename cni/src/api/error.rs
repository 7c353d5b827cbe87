//! Why a request failed.

use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure; decides the plugin's exit code.
    pub kind: ErrorKind,
    /// One line: what failed, on which field or object, and the remedy.
    pub message: String,
}

/// Kinds of failure that a client treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// No such attachment, map or path.
    NotFound,
    /// The attachment exists already.
    Exists,
    /// A requested address is outside the pools or not available.
    AddressUnavailable,
    /// A pool has no address left.
    PoolExhausted,
    /// A port of the node is another pod's, or a process listens there.
    PortTaken,
    /// Kernel, maps or record differ from what they should be.
    Mismatch,
    /// Not now: starting, stopping, or another request holds the attachment.
    Busy,
    /// A file could not be read or written.
    Io,
    /// The kernel refused something.
    Kernel,
}
