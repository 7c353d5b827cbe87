//! Nodes: this one, and what the others make a list of peers from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use tokio::sync::watch;

use crate::config::parse_pod_cidrs;
use crate::peer::{Listing, PeerSet, reaches_a_node};
use crate::text;

use super::OwnNode;
use super::objects::{Meta, Objects, Raw};
use super::peers::{Candidate, peers};
use super::report::{Marks, NOT_READY, UNAVAILABLE};
use super::view::{Topic, View};

#[derive(Debug, Deserialize)]
pub(super) struct RawNode {
    kind: Option<String>,
    metadata: Meta,
    #[serde(default)]
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Debug, Default, Deserialize)]
struct RawSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
    taints: Option<Vec<RawTaint>>,
}

#[derive(Debug, Deserialize)]
struct RawTaint {
    key: String,
}

#[derive(Debug, Default, Deserialize)]
struct RawStatus {
    addresses: Option<Vec<RawAddress>>,
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Debug, Deserialize)]
struct RawAddress {
    r#type: String,
    address: String,
}

#[derive(Debug, Deserialize)]
struct RawCondition {
    r#type: String,
    status: String,
}

impl Raw for RawNode {
    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// What is kept of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    created: Box<str>,
    /// Its pod ranges, or the text that is none.
    ranges: Result<Box<[IpNet]>, Box<str>>,
    /// The first `InternalIP` of each family, IPv4 first.
    addresses: Box<[IpAddr]>,
    /// Of this node alone.
    marks: Option<Box<Marks>>,
}

/// Who turns nodes into what the rest of the agent knows.
pub(super) struct Nodes {
    pub(super) name: String,
    /// Of the configuration; the object's do not count then.
    pub(super) pod_cidrs: Vec<IpNet>,
    pub(super) own: watch::Sender<OwnNode>,
    pub(super) peers: watch::Sender<Listing>,
    pub(super) marks: watch::Sender<Option<Marks>>,
    pub(super) view: Rc<View>,
}

impl Objects for Nodes {
    type Raw = RawNode;
    type Key = Box<str>;
    type Kept = Node;

    const TOPIC: Topic = Topic::Nodes;
    const KIND: &'static str = "Node";
    const LIST: &'static str = "NodeList";
    const PATH: &'static str = "/api/v1/nodes";

    fn keep(&self, raw: RawNode) -> (Box<str>, Node) {
        let RawNode { metadata: Meta { name, creation_timestamp, .. }, spec, status, .. } = raw;
        let marks = (name == self.name).then(|| Box::new(marks(&spec, &status)));
        let texts = match spec.pod_cidrs.filter(|texts| !texts.is_empty()) {
            Some(texts) => texts,
            None => spec.pod_cidr.into_iter().filter(|text| !text.is_empty()).collect(),
        };
        let node = Node {
            created: creation_timestamp.unwrap_or_default().into(),
            ranges: texts.iter().map(|text| text.parse::<IpNet>().map_err(|_| text.as_str().into())).collect(),
            addresses: internal_ips(status.addresses.unwrap_or_default()),
            marks,
        };
        (name.into(), node)
    }

    fn trusts(&self, listed: &BTreeMap<Box<str>, Node>) -> bool {
        listed.contains_key(self.name.as_str())
    }

    fn publish(&mut self, all: &BTreeMap<Box<str>, Node>, held: &BTreeSet<Box<str>>) {
        let own = all.get(self.name.as_str()).filter(|_| !held.contains(self.name.as_str()));
        let mut problems = Vec::new();
        if !held.is_empty() {
            problems.push(format!(
                "the API server lists {} nodes and not this one: {} that it listed before are kept",
                all.len() - held.len(),
                held.len()
            ));
        }
        self.view.found(Topic::Nodes, all.len(), problems);
        let now = self.own(own, all.len() - held.len());
        let ranges = now.ranges.clone().unwrap_or_default();
        replace(&self.own, now);
        replace(&self.marks, own.and_then(|own| own.marks.as_deref()).cloned());
        // Without this node in it a list is not of this cluster, or not whole: what the kernel has is better.
        if own.is_some() || self.peers.borrow().known.is_some() {
            let listing = self.peers(all, held, &ranges);
            replace(&self.peers, listing);
        }
    }
}

impl Nodes {
    /// This node. Ranges stay what they were while its object has none: pods have addresses of them.
    fn own(&self, node: Option<&Node>, count: usize) -> OwnNode {
        let before = self.own.borrow().clone();
        let name = &self.name;
        let Some(node) = node else {
            let problem = format!(
                "node {name} is not among the {count} nodes of the cluster: set node-name (WEFT_NODE_NAME) to its name \
                 there, or let its kubelet register it"
            );
            return OwnNode { problem: Some(problem), ..before };
        };
        let addresses = node.addresses.to_vec();
        if !self.pod_cidrs.is_empty() {
            return OwnNode { ranges: before.ranges, addresses, problem: None };
        }
        let ranges = match &node.ranges {
            Ok(ranges) if ranges.is_empty() => Err(format!(
                "node {name} has no podCIDR: run kube-controller-manager with --allocate-node-cidrs and \
                 --cluster-cidr, or set pod-cidr in weft's configuration"
            )),
            Ok(ranges) => {
                let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
                parse_pod_cidrs(&texts).map_err(|error| format!("node {name}: {}", text::chain(&error)))
            }
            Err(text) => Err(format!("node {name}: podCIDR {text:?} is no range: write it as 10.244.0.0/24")),
        };
        match ranges {
            Ok(mut ranges) => {
                ranges.sort_by_key(|range| range.addr().is_ipv6());
                OwnNode { ranges: Some(ranges.into()), addresses, problem: None }
            }
            Err(problem) => OwnNode { ranges: before.ranges, addresses, problem: Some(problem) },
        }
    }

    fn peers(&self, all: &BTreeMap<Box<str>, Node>, held: &BTreeSet<Box<str>>, own_ranges: &[IpNet]) -> Listing {
        let own = all.get(self.name.as_str());
        let own_addresses = own.map(|own| own.addresses.to_vec()).unwrap_or_default();
        let others = all.iter().filter(|(name, _)| ***name != *self.name);
        let candidates = others.map(|(name, node)| Candidate {
            name,
            created: &node.created,
            held: held.contains(name),
            addresses: &node.addresses,
            ranges: node.ranges.as_deref().map_err(|text| &**text),
        });
        let (peers, problem) = peers(candidates.collect(), own_ranges, &own_addresses);
        Listing { known: Some(Arc::new(PeerSet { peers, own_addresses })), problem }
    }
}

/// Sends what differs; whoever listens hears of nothing else.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, now: T) {
    sender.send_if_modified(|before| {
        let differs = *before != now;
        if differs {
            *before = now;
        }
        differs
    });
}

fn internal_ips(addresses: Vec<RawAddress>) -> Box<[IpAddr]> {
    let internal = addresses.into_iter().filter(|address| address.r#type == "InternalIP");
    let internal: Vec<IpAddr> = internal.filter_map(|address| address.address.parse().ok()).collect();
    let internal = internal.into_iter().filter(|address| reaches_a_node(*address));
    let (v4, v6): (Vec<_>, Vec<_>) = internal.partition(IpAddr::is_ipv4);
    v4.into_iter().take(1).chain(v6.into_iter().take(1)).collect()
}

fn marks(spec: &RawSpec, status: &RawStatus) -> Marks {
    let mut conditions = status.conditions.iter().flatten();
    let taints = spec.taints.iter().flatten().enumerate();
    Marks {
        available: conditions.any(|condition| condition.r#type == UNAVAILABLE && condition.status == "False"),
        taints: taints.filter(|(_, taint)| taint.key == NOT_READY).map(|(at, _)| at).collect(),
    }
}
