//! The agent's place in a cluster: what is learnt of Kubernetes on one side, node and endpoints on the other.
//!
//! Whatever is learnt stays in force while the API server is away: running pods need nothing of it, and new ones only
//! the pod ranges, which do not change.

mod cache;
mod limits;
mod proxy;
mod ranges;
mod ready;
mod unmanaged;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use weft_cni::api::{EndpointInfo, KubernetesStatus, ProxyStatus};

use crate::endpoint::Endpoints;
use crate::k8s::{OwnNode, PodName, Pods, View};
use crate::kernel::Kernel;
use crate::text;

pub(crate) use cache::{Cache, Known};
pub(crate) use limits::follow_limits;
pub(crate) use proxy::follow_proxy;
pub(crate) use ranges::{Ranges, local_to};
pub(crate) use ready::become_ready;
pub(crate) use unmanaged::spare_unmanaged;

/// Pods that a sentence about many of them names.
const NAMED: usize = 5;

/// What the agent tells of its place in the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) own: watch::Receiver<OwnNode>,
    pub(crate) pods: watch::Receiver<Arc<Pods>>,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) view: Rc<View>,
    /// Who translates services, once it was looked.
    pub(crate) proxy: watch::Receiver<Option<ProxyStatus>>,
    pub(crate) troubles: Rc<Troubles>,
}

/// What could not be made of what was learnt, a sentence each.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    ranges: RefCell<Option<String>>,
    limits: RefCell<BTreeMap<PodName, String>>,
}

impl Cluster {
    /// Why the agent is not ready yet, a sentence; none once it has been.
    pub(crate) fn waits_for<K: Kernel>(&self, endpoints: &Endpoints<K>) -> Option<String> {
        if *self.ready.borrow() {
            return None;
        }
        if endpoints.has_ranges() {
            return Some("the API server has not named the other nodes yet".to_owned());
        }
        let why = self.troubles.ranges.borrow().clone();
        let why = why.or_else(|| self.own.borrow().problem.clone());
        why.or_else(|| {
            let KubernetesStatus { api_server, problem, .. } = self.view.status();
            let why = problem.unwrap_or_else(|| "has not named them yet".to_owned());
            Some(format!("this node's pod ranges are not known: the API server {api_server} {why}"))
        })
    }

    /// What is wrong, a sentence each.
    pub(crate) fn problems<K: Kernel>(&self, endpoints: &Endpoints<K>) -> Vec<String> {
        let mut problems: Vec<String> = self.waits_for(endpoints).into_iter().collect();
        let strays = strays(endpoints).into_iter().chain(self.troubles.ranges.borrow().clone());
        let limits = self.troubles.limits.borrow();
        let all = self.own.borrow().problem.clone().into_iter().chain(self.view.problems()).chain(strays);
        for problem in all.chain(limits.values().cloned()) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// What the agent knows of its cluster; without the conflist.
    pub(crate) fn status<K: Kernel>(&self, endpoints: &Endpoints<K>) -> KubernetesStatus {
        let unmanaged = unmanaged::unmanaged(&self.pods.borrow(), &endpoints.records());
        KubernetesStatus { unmanaged, ..self.view.status() }
    }
}

/// Pods with addresses that are no longer this node's, as a sentence.
fn strays<K: Kernel>(endpoints: &Endpoints<K>) -> Option<String> {
    let strays = endpoints.strays();
    if strays.is_empty() || !endpoints.has_ranges() {
        return None;
    }
    let names: Vec<_> = strays.iter().map(name).collect();
    let pools: Vec<_> = endpoints.pools().iter().map(|pool| pool.cidr.to_string()).collect();
    Some(format!(
        "outside this node's pod ranges {}: {}; other nodes may not find them: make them anew",
        pools.join(", "),
        text::first_of(NAMED, &names)
    ))
}

fn name(endpoint: &EndpointInfo) -> String {
    let who = match &endpoint.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => format!("{}/{}", endpoint.key.container_id, endpoint.key.ifname),
    };
    let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
    format!("{who} ({})", addresses.join(", "))
}
