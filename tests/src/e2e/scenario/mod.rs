//! What users do, one function each.

mod bandwidth;
mod host_ports;
mod life;
mod names;
mod node_ports;
mod nodes;
mod outside;
mod reach;
mod restart;
mod services;

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Result, bail};

use super::report::Verdict;
use super::stage::{Cast, Stage};

/// A scenario under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Verdict>> + 'a>>;

/// Something that users do.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: for<'a> fn(&'a Stage, &'a Cast) -> Running<'a>,
}

/// How long one may take: its pods have to start and to go, some of them one after the other.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

macro_rules! scenarios {
    ($($name:literal $run:path: $what:literal,)*) => {
        /// In the order in which they run: what others build upon first, what disturbs the agent last.
        const ALL: &[Scenario] = &[$(Scenario { name: $name, what: $what, run: |stage, cast| Box::pin($run(stage, cast)) },)*];
    };
}

scenarios! {
    "nodes" nodes::ready: "nodes are Ready, their network is up, no taint is left",
    "addresses" reach::addresses: "each pod has an address of its own, of every family",
    "same-node" reach::same_node: "pods of one node reach each other, with their own addresses",
    "across-nodes" reach::across: "pods of two nodes reach each other, with their own addresses",
    "first-packet" reach::first_packet: "a pod's first attempt is answered, from another node",
    "large" reach::large: "packets of the full MTU, larger ones, and 1 MiB both ways arrive whole",
    "host-to-pod" reach::host_to_pod: "processes of nodes reach pods of their own and the other node",
    "pod-to-node" reach::pod_to_node: "pods reach their own and the other node",
    "probes" life::probes: "the kubelet's HTTP and TCP probes reach a pod",
    "api-server" outside::api_server: "pods reach the API server by its service, over TLS",
    "cluster-ip" services::cluster_ip: "a service of pods on the same node, the other, and the one that asks",
    "affinity" services::affinity: "a service with ClientIP affinity keeps to one pod",
    "dns" names::dns: "names of services and of headless ones, over UDP and TCP",
    "node-port" node_ports::everywhere: "a port of every node, from pods and nodes",
    "node-port-local" node_ports::local: "with externalTrafficPolicy Local pods see who asked",
    "host-port" host_ports::everywhere: "a port of the node that is a pod's, from pods and nodes, TCP and UDP",
    "world" outside::world: "pods reach an address outside of the cluster",
    "bandwidth" bandwidth::from_the_start: "limits of annotations hold, both ways",
    "bandwidth-change" bandwidth::changed: "a limit follows its annotation while the pod runs",
    "pod-gone" life::gone: "nobody answers at the address of a pod that is gone",
    "many-pods" life::many: "30 pods at once come and go, and leave nothing behind",
    "agent-restart" restart::one: "an agent restarts under running streams: nothing is lost",
    "rolling-restart" restart::all: "all agents are replaced under running streams: nothing is lost",
}

/// Names of all scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|scenario| scenario.name)
}

/// Those with these names, or all.
pub(super) fn choose(only: &[String]) -> Result<Vec<&'static Scenario>> {
    if let Some(unknown) = only.iter().find(|name| !names().any(|known| known == **name)) {
        bail!("no scenario {unknown:?}: {}", names().collect::<Vec<_>>().join(", "));
    }
    Ok(ALL.iter().filter(|scenario| only.is_empty() || only.iter().any(|name| name == scenario.name)).collect())
}

fn one_node_only() -> Verdict {
    Verdict::NotApplicable("one node only".to_owned())
}

fn no_weft() -> Verdict {
    Verdict::NotApplicable("weft is not installed".to_owned())
}

fn passed(detail: impl Into<String>) -> Verdict {
    Verdict::Passed(detail.into())
}

/// `IPv4`, `IPv6` or both.
fn families<'a>(addresses: impl IntoIterator<Item = &'a std::net::IpAddr>) -> &'static str {
    let (mut v4, mut v6) = (false, false);
    for address in addresses {
        v4 |= address.is_ipv4();
        v6 |= address.is_ipv6();
    }
    match (v4, v6) {
        (true, true) => "IPv4 and IPv6",
        (_, true) => "IPv6",
        _ => "IPv4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap().len(), ALL.len());
        assert_eq!(choose(&["dns".to_owned()]).unwrap()[0].name, "dns");
        assert!(choose(&["dsn".to_owned()]).is_err());
        let mut all: Vec<_> = names().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ALL.len(), "a name twice");
    }
}
