//! The error object of the specification's section 5 and its codes.

use serde::{Deserialize, Serialize};

/// Codes of errors: below 100 the specification's, from 100 weft's own (see docs/life-of-a-request.md).
pub mod code {
    /// The configuration's `cniVersion` is not supported, or does not know the command.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field asks for what weft does not do; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is not known or its namespace does not exist.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A variable is missing or wrong; the message names it.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Something could not be read or written.
    pub const IO: u32 = 5;
    /// The configuration is not JSON.
    pub const UNDECODABLE: u32 = 6;
    /// The configuration is JSON, but wrong; the message names the field.
    pub const INVALID_CONFIG: u32 = 7;
    /// The agent is away or busy: the same request may succeed later.
    pub const TRY_AGAIN: u32 = 11;
    /// ADD cannot be served now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// The agent failed, or answered what weft-cni does not understand.
    pub const AGENT: u32 = 100;
    /// CHECK found a difference.
    pub const MISMATCH: u32 = 101;
    /// The attachment, or an interface of the name, exists already.
    pub const EXISTS: u32 = 102;
    /// A requested address is not in the pools or not free.
    pub const ADDRESS_UNAVAILABLE: u32 = 103;
    /// A pool has no address left.
    pub const POOL_EXHAUSTED: u32 = 104;
    /// The delegated IPAM plugin failed without an error object, or returned what cannot be used.
    pub const DELEGATE: u32 = 105;
    /// The kernel refused a request of weft-cni.
    pub const KERNEL: u32 = 106;
    /// A port of the node is another pod's, or a process listens there; the message names the holder.
    pub const PORT_TAKEN: u32 = 107;
}

/// An error as a plugin prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Version of the specification in use.
    #[serde(rename = "cniVersion", default)]
    pub cni_version: String,
    /// What kind of error; see [`code`].
    pub code: u32,
    /// One line.
    pub msg: String,
    /// What caused it, and what else went wrong.
    #[serde(default)]
    pub details: String,
}
