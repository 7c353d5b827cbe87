//! What the agent tells of the ways off its node.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use weft_cni::api::{NetworkStatus, OverlayStatus, PeerInfo, PeerWay, UplinkStatus};

use crate::node::Uplinks;

use super::{Peer, PeerSet};

/// Of pods on a node whose ways off are not known yet, in bytes.
const DEFAULT_MTU: u32 = 1500;

/// The newest state, for whoever asks.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) state: RefCell<State>,
    /// MTU that new pods get, in bytes.
    pub(super) pod_mtu: Cell<u32>,
    /// Whether a list of nodes has been brought about.
    pub(super) led: watch::Sender<bool>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) set: Arc<PeerSet>,
    /// In the peers' order.
    pub(super) placed: Vec<Placed>,
    pub(super) overlay: Option<OverlayStatus>,
    pub(super) uplinks: Uplinks,
    /// A sentence each.
    pub(super) problems: Vec<String>,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) way: PeerWay,
    pub(super) end: Option<IpAddr>,
    pub(super) since: Instant,
}

impl Default for View {
    fn default() -> Self {
        Self { state: RefCell::default(), pod_mtu: Cell::new(DEFAULT_MTU), led: watch::Sender::new(false) }
    }
}

impl View {
    /// MTU that new pods get unless the configuration says another, in bytes.
    pub(crate) fn pod_mtu(&self) -> u32 {
        self.pod_mtu.get()
    }

    /// Becomes true when the first list of nodes is brought about.
    pub(crate) fn led(&self) -> watch::Receiver<bool> {
        self.led.subscribe()
    }

    /// What is wrong, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state.borrow().problems.clone()
    }

    /// Every other node, by name.
    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        let state = self.state.borrow();
        state.set.peers.iter().zip(&state.placed).map(|(peer, placed)| info(peer, placed)).collect()
    }

    /// The ways off the node.
    pub(crate) fn status(&self) -> NetworkStatus {
        let state = self.state.borrow();
        let uplinks = state.uplinks.all.iter().map(|uplink| UplinkStatus {
            device: uplink.name.clone(),
            mtu: uplink.mtu,
            up: uplink.up,
            addresses: uplink.v4.map(IpAddr::V4).into_iter().chain(uplink.v6.map(IpAddr::V6)).collect(),
        });
        NetworkStatus {
            overlay: state.overlay.clone(),
            uplinks: uplinks.collect(),
            peers: state.set.peers.len(),
            pod_mtu: self.pod_mtu.get(),
        }
    }
}

impl State {
    /// Takes a new list. A peer that stays where it was is known as long as before.
    pub(super) fn place(&mut self, set: Arc<PeerSet>, ways: Vec<(PeerWay, Option<IpAddr>)>) {
        let now = Instant::now();
        let before = |peer: &Peer| {
            let at = self.set.peers.binary_search_by(|other| other.name.cmp(&peer.name)).ok()?;
            self.set.peers.get(at).filter(|other| *other == peer)?;
            self.placed.get(at).copied()
        };
        let placed = set.peers.iter().zip(ways).map(|(peer, (way, end))| {
            let stays = before(peer).filter(|placed| (placed.way, placed.end) == (way, end));
            stays.unwrap_or(Placed { way, end, since: now })
        });
        self.placed = placed.collect();
        self.set = set;
    }
}

fn info(peer: &Peer, placed: &Placed) -> PeerInfo {
    PeerInfo {
        name: peer.name.to_string(),
        addresses: peer.addresses.to_vec(),
        pod_cidrs: peer.pod_cidrs.to_vec(),
        way: placed.way,
        end: placed.end,
        age_ms: u64::try_from(placed.since.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
