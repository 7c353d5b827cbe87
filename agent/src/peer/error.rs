//! What can be wrong with the list of the other nodes, and with the ways there.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::CidrError;
use crate::datapath::DatapathError;
use crate::node::NodeError;

/// The list cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or not of this shape.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Line, counted from 1.
        line: usize,
        /// What the parser stumbled over.
        problem: String,
    },
    /// No node can have that name.
    #[error("peer {name:?} needs a name of 1 to 253 characters without white space")]
    Name {
        /// Its value.
        name: String,
    },
    /// Two entries of one name.
    #[error("peer {name} is listed twice: remove one entry")]
    Twice {
        /// The name.
        name: String,
    },
    /// Not an address of a node.
    #[error("peer {name}: {text:?} is no address that reaches a node: write one as 192.0.2.12 or 2001:db8::12")]
    Address {
        /// The peer.
        name: String,
        /// Its value.
        text: String,
    },
    /// No address at all.
    #[error("peer {name}: addresses is empty: name at least one")]
    NoAddress {
        /// The peer.
        name: String,
    },
    /// Two nodes with one address.
    #[error("address {address} is listed for both {first} and {second}: correct one")]
    SharedAddress {
        /// The address.
        address: IpAddr,
        /// One node.
        first: String,
        /// The other.
        second: String,
    },
    /// A pod range that cannot be used.
    #[error("peer {name}")]
    Range {
        /// The peer.
        name: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// Two pod ranges share addresses.
    #[error("pod range {range} of {owner} overlaps {other_range} of {other}: make them disjoint")]
    Overlap {
        /// The wider range.
        range: IpNet,
        /// Whose it is.
        owner: String,
        /// The other one.
        other_range: IpNet,
        /// Whose it is.
        other: String,
    },
    /// A peer with a range of this node's, which may be this node.
    #[error("pod range {range} of peer {peer} is this node's: if {peer} is this node, set node-name = {peer:?}")]
    OwnRange {
        /// The range.
        range: IpNet,
        /// Whose it is said to be.
        peer: String,
    },
    /// A node that lives among pods.
    #[error("peer {peer}: address {address} lies in pod range {range} of {owner}: correct one")]
    InPodRange {
        /// The node.
        peer: String,
        /// Its address.
        address: IpAddr,
        /// The range.
        range: IpNet,
        /// Whose it is.
        owner: String,
    },
}

/// The ways off the node cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Devices and routes.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Programs and maps.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The thread that made the call is gone.
    #[error("the call was abandoned")]
    Abandoned(#[from] tokio::task::JoinError),
}
