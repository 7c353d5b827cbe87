//! Other nodes: the list of them, and what the kernel has to know so that packets get there.

mod error;
mod file;
mod model;
mod network;
mod overlap;
mod plan;
mod services;
mod uplinks;
mod view;
mod watch;

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch::Receiver;

pub(crate) use error::NetworkError;
pub(crate) use file::reaches_a_node;
pub(crate) use model::{Peer, PeerSet};
pub(crate) use network::{Network, Settings};
pub(crate) use overlap::Ranges;
pub(crate) use services::Services;
pub(crate) use view::View;
pub(crate) use watch::PeersFile;

/// What is known of the other nodes, from whatever source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The last list that could be used; `None` until there was one, and the kernel keeps what it has.
    pub(crate) known: Option<Arc<PeerSet>>,
    /// Why a newer list could not be used, as a sentence.
    pub(crate) problem: Option<String>,
}

/// Where news of the cluster come from.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The other nodes.
    pub(crate) lists: Receiver<Listing>,
    /// What lives on this node: its pod ranges, and addresses of pods outside of them.
    pub(crate) local: Receiver<Arc<[IpNet]>>,
    /// The services.
    pub(crate) services: Receiver<Services>,
}
