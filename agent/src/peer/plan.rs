//! From peers, uplinks and configuration to what the kernel is to have.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_cni::api::PeerWay;

use crate::config::NetworkConfig;
use crate::datapath::{Home, PeerRange, Tunnel};
use crate::node::{PeerRoute, PeerRoutes, Towards, Uplinks};
use crate::text;

use super::overlap::Ranges;
use super::{Peer, PeerSet};

/// Bytes that VXLAN adds over IPv4 (20 + 8 + 8, and the inner Ethernet header of 14), and over IPv6 (40 instead of 20).
const OVERHEAD_V4: u32 = 50;
const OVERHEAD_V6: u32 = 70;
/// Of a node without uplinks, in bytes.
const DEFAULT_MTU: u32 = 1500;
/// Peers that a sentence about many of them names.
const NAMED: usize = 3;

/// What the decisions are made from.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a NetworkConfig,
    pub(super) own_ranges: &'a [IpNet],
    /// The node's addresses as other nodes know them; empty if nobody said.
    pub(super) node_ip: &'a [IpAddr],
    /// The node's own addresses towards its pods.
    pub(super) gateways: &'a [IpAddr],
    pub(super) uplinks: &'a Uplinks,
    /// The way to each peer's address that has one.
    pub(super) towards: &'a HashMap<IpAddr, Towards>,
    /// The way through the overlay device, if there is one.
    pub(super) overlay: Option<Tunnel>,
    /// What only the node's stack knows the way to.
    pub(super) stack: &'a [IpNet],
}

/// What the kernel is to have.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) ranges: Vec<PeerRange>,
    pub(super) exempt: Vec<IpNet>,
    pub(super) routes: PeerRoutes,
    /// In the peers' order: how packets get there, and to which address.
    pub(super) ways: Vec<(PeerWay, Option<IpAddr>)>,
    pub(super) problems: Vec<String>,
}

/// The families of the node's own addresses as other nodes see them: IPv4, IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// Those of `node_ip`, the addresses that other nodes know; if nobody said, those that the uplinks have.
    fn of(node_ip: &[IpAddr], uplinks: &Uplinks) -> Self {
        let listed = |v4: bool| node_ip.iter().any(|ip| ip.is_ipv4() == v4);
        let found = |v4: bool| uplinks.all.iter().any(|up| if v4 { up.v4.is_some() } else { up.v6.is_some() });
        if node_ip.is_empty() {
            Self { v4: found(true), v6: found(false) }
        } else {
            Self { v4: listed(true), v6: listed(false) }
        }
    }

    /// The peer's address to use. It follows from families alone, so that both nodes of a pair choose the same one,
    /// whatever the routes of the moment.
    fn end(self, peer: &Peer) -> Option<IpAddr> {
        peer.addresses.iter().copied().find(|address| if address.is_ipv4() { self.v4 } else { self.v6 })
    }
}

/// The largest packet of a pod that leaves the node whole, in bytes.
pub(super) fn pod_mtu(overlay: bool, node_ip: &[IpAddr], uplinks: &Uplinks, peers: &[Peer]) -> u32 {
    let carried = uplinks.mtu().unwrap_or(DEFAULT_MTU);
    let families = Families::of(node_ip, uplinks);
    let over_v6 = |peer: &Peer| families.end(peer).is_some_and(|end| end.is_ipv6());
    let overhead = match overlay {
        false => 0,
        true if peers.iter().any(over_v6) || (families.v6 && !families.v4) => OVERHEAD_V6,
        true => OVERHEAD_V4,
    };
    carried.saturating_sub(overhead)
}

/// Decides.
pub(super) fn plan(set: &PeerSet, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let local = |range: &IpNet| PeerRange { range: *range, home: Home::Local };
    plan.ranges.extend(facts.own_ranges.iter().map(local));
    let families = Families::of(facts.node_ip, facts.uplinks);
    let mut unreachable = Vec::new();
    for peer in &set.peers {
        let Some(end) = families.end(peer) else {
            unreachable.push(&*peer.name);
            plan.ways.push((PeerWay::Unreachable, None));
            continue;
        };
        let tunnel = facts.overlay;
        let home = Home::Node { address: end, tunnel };
        plan.ranges.extend(peer.pod_cidrs.iter().map(|range| PeerRange { range: *range, home }));
        let before = plan.routes.len();
        let way = if let Some(tunnel) = tunnel {
            plan.routes.extend(tunnelled(peer, end, tunnel, facts));
            PeerWay::Overlay
        } else {
            plan.routes.extend(direct(peer, facts));
            if plan.routes.len() > before { PeerWay::Direct } else { PeerWay::Network }
        };
        plan.ways.push((way, Some(end)));
    }
    plan.ranges.extend(through_stack(set, facts));
    plan.exempt = exempt(set, facts);
    if !unreachable.is_empty() {
        plan.problems.push(no_common_family(&unreachable));
    }
    plan
}

/// The node's own packets to the peer's pods, with the node's pod-side address: no other is the peer's to accept.
fn tunnelled<'a>(
    peer: &'a Peer,
    end: IpAddr,
    tunnel: Tunnel,
    facts: &Facts<'a>,
) -> impl Iterator<Item = (IpNet, PeerRoute)> + 'a {
    let local = facts.node_ip.iter().copied().find(|ip| ip.is_ipv4() == end.is_ipv4());
    let gateways = facts.gateways;
    peer.pod_cidrs.iter().filter_map(move |range| {
        let source = gateways.iter().copied().find(|ip| ip.is_ipv4() == range.addr().is_ipv4());
        let Tunnel { device, vni, .. } = tunnel;
        // Without pods of that family here nobody there could answer.
        source?;
        Some((*range, PeerRoute::Tunnel { device, vni, node: end, local, source }))
    })
}

/// Routes to a node that an uplink reaches without a router in between.
fn direct<'a>(peer: &'a Peer, facts: &Facts<'a>) -> impl Iterator<Item = (IpNet, PeerRoute)> + 'a {
    let Facts { config, uplinks, towards, .. } = *facts;
    let ranges = peer.pod_cidrs.iter().filter(|_| config.direct_node_routes);
    ranges.filter_map(move |range| {
        let of_family = |address: &&IpAddr| address.is_ipv4() == range.addr().is_ipv4();
        let node = *peer.addresses.iter().find(of_family)?;
        let Towards { device, direct } = *towards.get(&node)?;
        (direct && uplinks.get(device).is_some()).then_some((*range, PeerRoute::Gateway { device, node }))
    })
}

/// A pod's address is the pod's, whatever a service claims.
fn through_stack<'a>(set: &PeerSet, facts: &Facts<'a>) -> impl Iterator<Item = PeerRange> + use<'a> {
    let theirs = set.peers.iter().flat_map(|peer| peer.pod_cidrs.iter());
    let mut pods = Ranges::default();
    pods.extend(facts.own_ranges.iter().chain(theirs).map(|range| (*range, ())));
    let ranges = facts.stack.iter().filter(move |range| pods.holding(range.addr()).is_none());
    ranges.map(|range| PeerRange { range: *range, home: Home::Stack })
}

fn exempt(set: &PeerSet, facts: &Facts) -> Vec<IpNet> {
    if !facts.config.masquerade {
        return vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    }
    let peers = set.peers.iter().flat_map(|peer| peer.pod_cidrs.iter());
    let all = facts.own_ranges.iter().chain(&facts.config.masq_exempt).chain(peers);
    all.copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn no_common_family(peers: &[&str]) -> String {
    let names = text::first_of(NAMED, peers);
    format!(
        "no way to peer {names}: none of its addresses is of a family that this node's uplinks have; list another, or \
         give the uplink an address"
    )
}

#[cfg(test)]
mod tests;
