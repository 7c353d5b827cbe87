//! Pods of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::runtime::reflector::Store;
use serde::Deserialize;
use tokio::sync::watch;
use weft_cni::api::{Bandwidth, RateLimit};

use super::objects::{Annotations, Audience, Meta, Names, Object, Used};
use super::view::{Topic, View};
use super::{Phase, Pod, PodName, Pods, quantity, replace};

const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// Pods whose annotations are told of; the list would drown in more.
const NAMED: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSpec {
    host_network: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RawStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawIp>>,
}

#[derive(Debug, Deserialize)]
struct RawIp {
    ip: Option<String>,
}

impl Used for Pod {
    type Of = v1::Pod;
    type Spec = RawSpec;
    type Status = RawStatus;

    fn of(meta: &Meta, spec: RawSpec, status: RawStatus) -> Self {
        let ips = status.pod_ips.into_iter().flatten().filter_map(|ip| ip.ip).chain(status.pod_ip);
        let addresses: BTreeSet<IpAddr> = ips.filter_map(|text| text.parse().ok()).collect();
        Self {
            uid: meta.uid.as_str().into(),
            bandwidth: bandwidth(meta),
            host_network: spec.host_network.unwrap_or_default(),
            addresses: addresses.into_iter().collect(),
            phase: match status.phase.as_deref() {
                None | Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some(_) => Phase::Over,
            },
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Who turns pods into what the rest of the agent knows.
pub(super) struct OwnPods {
    pub(super) node_name: String,
    pub(super) pods: watch::Sender<Arc<Pods>>,
    pub(super) view: Rc<View>,
}

impl Audience for OwnPods {
    type Used = Pod;

    const TOPIC: Topic = Topic::Pods;

    fn fields(&self) -> Option<String> {
        Some(format!("spec.nodeName={}", self.node_name))
    }

    /// A node without pods is nothing strange, and nothing is taken away with them.
    fn trusts(&self, _: &Names<Pod>) -> bool {
        true
    }

    fn publish(&mut self, all: &Store<Object<Pod>>, _: &Names<Pod>) {
        let name = |object: &Object<Pod>| PodName { namespace: object.namespace().into(), name: object.name().into() };
        let by_name: BTreeMap<_, _> = all.state().iter().map(|object| (name(object), object.used.clone())).collect();
        let wrong = by_name.values().filter_map(|pod| pod.bandwidth.as_ref().err());
        self.view.found(Topic::Pods, by_name.len(), wrong.take(NAMED).cloned().collect());
        replace(&self.pods, Arc::new(Pods { by_name }));
    }
}

/// What the annotations ask for, by the kubelet's rules; none at all without them.
fn bandwidth(pod: &Meta) -> Result<Option<Bandwidth>, String> {
    let Some(Annotations { ingress, egress }) = &pod.annotations else { return Ok(None) };
    let limit = |annotation: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let wrong = |why: &dyn std::fmt::Display| {
            let Meta { namespace, name, .. } = pod;
            Err(format!("pod {namespace}/{name}: annotation {annotation} is {text:?}: {why}"))
        };
        match quantity::parse(text).map(|rate| RateLimit { rate, burst: 0 }) {
            None => wrong(&"write bits a second as 10M, 1.5G or 500k"),
            Some(limit) => limit.check().map_or_else(|error| wrong(&error), |()| Ok(Some(limit))),
        }
    };
    let bandwidth = Bandwidth { ingress: limit(INGRESS, ingress)?, egress: limit(EGRESS, egress)? };
    Ok((ingress.is_some() || egress.is_some()).then_some(bandwidth))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: &serde_json::Value) -> Pod {
        serde_json::from_value::<Object<Pod>>(object.clone()).unwrap().used
    }

    fn annotated(annotations: &serde_json::Value) -> Result<Option<Bandwidth>, String> {
        read(&json!({"metadata": {"name": "web", "namespace": "shop", "annotations": annotations}})).bandwidth
    }

    #[test]
    fn what_a_node_needs_of_a_pod() {
        let pod = read(&json!({
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hostNetwork": true, "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}, {"ip": "fd00::2"}]},
        }));
        assert_eq!((&*pod.uid, pod.phase, pod.host_network, pod.deleting), ("u1", Phase::Running, true, true));
        assert_eq!(*pod.addresses, ["10.244.1.2", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap()));
        let pod = read(&json!({"metadata": {"name": "web"}, "status": {"phase": "Failed", "podIPs": null}}));
        assert_eq!((pod.phase, pod.host_network, pod.deleting, pod.bandwidth), (Phase::Over, false, false, Ok(None)));
    }

    #[test]
    fn annotations_limit_as_the_kubelet_reads_them() {
        let limit = |rate| Some(RateLimit { rate, burst: 0 });
        assert_eq!(annotated(&json!({"team": "a"})), Ok(None));
        assert_eq!(
            annotated(&json!({INGRESS: "10M", EGRESS: "1Gi", "team": "a"})),
            Ok(Some(Bandwidth { ingress: limit(10_000_000), egress: limit(1 << 30) }))
        );
        assert_eq!(annotated(&json!({EGRESS: "1k"})), Ok(Some(Bandwidth { ingress: None, egress: limit(1000) })));
        for (annotations, parts) in [
            (json!({INGRESS: "10mb"}), ["shop/web", INGRESS, "\"10mb\"", "10M"]),
            (json!({EGRESS: "999"}), ["shop/web", EGRESS, "\"999\"", "1000 bit/s"]),
            (json!({EGRESS: "0"}), ["shop/web", EGRESS, "\"0\"", "too slow"]),
            (json!({EGRESS: "2P"}), ["shop/web", EGRESS, "\"2P\"", "too fast"]),
            (json!({INGRESS: "1M", EGRESS: ""}), ["shop/web", EGRESS, "\"\"", "10M"]),
        ] {
            let error = annotated(&annotations).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
