//! Nodes: this one, and what the others make a list of peers from.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use kube::runtime::reflector::{ObjectRef, Store};
use serde::Deserialize;
use tokio::sync::watch;

use crate::config::parse_pod_cidrs;
use crate::peer::{Listing, PeerSet, reaches_a_node};
use crate::text;

use super::objects::{Audience, Meta, Names, Object, Used};
use super::peers::{Candidate, peers};
use super::report::{Marks, NOT_READY, REASON, UNAVAILABLE};
use super::view::{Topic, View};
use super::{OwnNode, replace};

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawSpec {
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
pub(super) struct RawStatus {
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
    reason: Option<String>,
}

/// What is kept of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    created: Box<str>,
    /// Its pod ranges, or the text that is none.
    ranges: Result<Box<[IpNet]>, Box<str>>,
    /// The first `InternalIP` of each family, IPv4 first.
    addresses: Box<[IpAddr]>,
    pub(super) marks: Marks,
}

impl Used for Node {
    type Of = v1::Node;
    type Spec = RawSpec;
    type Status = RawStatus;

    fn of(meta: &Meta, spec: RawSpec, status: RawStatus) -> Self {
        let marks = marks(&spec, &status);
        let texts = match spec.pod_cidrs.filter(|texts| !texts.is_empty()) {
            Some(texts) => texts,
            None => spec.pod_cidr.into_iter().filter(|text| !text.is_empty()).collect(),
        };
        Self {
            created: meta.creation_timestamp.as_deref().unwrap_or_default().into(),
            ranges: texts.iter().map(|text| text.parse::<IpNet>().map_err(|_| text.as_str().into())).collect(),
            addresses: internal_ips(status.addresses.unwrap_or_default()),
            marks,
        }
    }
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

impl Audience for Nodes {
    type Used = Node;

    const TOPIC: Topic = Topic::Nodes;

    fn trusts(&self, listed: &Names<Node>) -> bool {
        listed.contains(&ObjectRef::new(&self.name))
    }

    fn publish(&mut self, all: &Store<Object<Node>>, held: &Names<Node>) {
        let name = ObjectRef::new(&self.name);
        let listed = all.get(&name).filter(|_| !held.contains(&name));
        let own = listed.as_ref().map(|object| &object.used);
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
        replace(&self.marks, own.map(|own| own.marks.clone()));
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

    fn peers(&self, all: &Store<Object<Node>>, held: &Names<Node>, own_ranges: &[IpNet]) -> Listing {
        let own = all.get(&ObjectRef::new(&self.name));
        let own_addresses = own.map(|own| own.used.addresses.to_vec()).unwrap_or_default();
        let all = all.state();
        let others = all.iter().filter(|object| object.name() != self.name);
        let candidates = others.map(|object| Candidate {
            name: object.name(),
            created: &object.used.created,
            held: held.contains(&ObjectRef::from_obj(object)),
            addresses: &object.used.addresses,
            ranges: object.used.ranges.as_deref().map_err(|text| &**text),
        });
        let (peers, problem) = peers(candidates.collect(), own_ranges, &own_addresses);
        Listing { known: Some(Arc::new(PeerSet { peers, own_addresses })), problem }
    }
}

fn internal_ips(addresses: Vec<RawAddress>) -> Box<[IpAddr]> {
    let internal = addresses.into_iter().filter(|address| address.r#type == "InternalIP");
    let internal: Vec<IpAddr> = internal.filter_map(|address| address.address.parse().ok()).collect();
    let internal = internal.into_iter().filter(|address| reaches_a_node(*address));
    let (v4, v6): (Vec<_>, Vec<_>) = internal.partition(IpAddr::is_ipv4);
    v4.into_iter().take(1).chain(v6.into_iter().take(1)).collect()
}

fn marks(spec: &RawSpec, status: &RawStatus) -> Marks {
    let condition = status.conditions.iter().flatten().find(|condition| condition.r#type == UNAVAILABLE);
    let taints = spec.taints.iter().flatten().enumerate();
    Marks {
        available: condition.is_some_and(|condition| condition.status == "False"),
        ours: condition.is_some_and(|condition| condition.reason.as_deref() == Some(REASON)),
        taints: taints.filter(|(_, taint)| taint.key == NOT_READY).map(|(at, _)| at).collect(),
    }
}
