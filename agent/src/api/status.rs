//! `GET /v1/status`: whether ADD is served, and if not, why.

use weft_cni::api::{EndpointInfo, KubernetesStatus, NetworkStatus, PortsStatus, Status};

use crate::kernel::Kernel;

use super::{App, nat};

pub(super) fn status<K: Kernel>(app: &App<K>) -> Status {
    let endpoints = &app.endpoints;
    let exhausted = endpoints.exhausted();
    let mut problems: Vec<String> = exhausted.iter().map(ToString::to_string).collect();
    let cluster = app.cluster.as_ref();
    let ready = problems.is_empty() && cluster.is_none_or(|cluster| cluster.waits_for(endpoints).is_none());
    problems.extend(cluster.map(|cluster| cluster.problems(endpoints)).unwrap_or_default());
    problems.extend(endpoints.troubles());
    problems.extend(endpoints.kernel().warnings());
    problems.extend(app.network.problems());
    problems.extend(app.install.problems());
    problems.extend(too_large(endpoints.pod_mtu(), &endpoints.list()));
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: app.node_name.clone(),
        ready,
        problems,
        attach: endpoints.kernel().attach_name().to_owned(),
        kernel: app.kernel_release.clone(),
        abi: weft_abi::VERSION,
        endpoints: endpoints.count(),
        pools: endpoints.pools(),
        network: NetworkStatus { pod_mtu: endpoints.pod_mtu(), ..app.network.status() },
        ports: PortsStatus { mappings: endpoints.ports().len() as u64, ..endpoints.kernel().ports_status() },
        bandwidth: endpoints.kernel().bandwidth(),
        kubernetes: cluster
            .map(|cluster| KubernetesStatus { conflist: app.install.conflist(), ..cluster.status(endpoints) }),
        proxy: cluster.and_then(|cluster| cluster.proxy.borrow().clone()),
        tables: nat::tables(endpoints.kernel()).unwrap_or_default(),
        uptime_ms: u64::try_from(app.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// Pods that send larger packets than new ones, as a sentence.
fn too_large(mtu: u32, endpoints: &[EndpointInfo]) -> Option<String> {
    let large = |endpoint: &&EndpointInfo| endpoint.endpoint.as_ref().is_some_and(|spec| spec.mtu > mtu);
    let mut large = endpoints.iter().filter(large).map(name);
    let mut names: Vec<_> = large.by_ref().take(NAMED).collect();
    let others = large.count();
    if names.is_empty() {
        return None;
    }
    if others > 0 {
        names.push(format!("and {others} more"));
    }
    let names = names.join(", ");
    Some(format!(
        "MTU above the {mtu} bytes that new pods get: {names}; their large packets may be lost: make them anew"
    ))
}

/// Endpoints that a sentence about many of them names.
const NAMED: usize = 5;

fn name(endpoint: &EndpointInfo) -> String {
    match &endpoint.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => format!("{}/{}", endpoint.key.container_id, endpoint.key.ifname),
    }
}
