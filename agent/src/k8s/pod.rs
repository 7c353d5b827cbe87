//! Pods of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::watch;
use weft_cni::api::{Bandwidth, RateLimit};

use super::objects::{Objects, Raw};
use super::view::{Topic, View};
use super::{Phase, Pod, PodName, Pods, quantity};

const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// Pods whose annotations are told of; the list would drown in more.
const NAMED: usize = 5;

#[derive(Debug, Deserialize)]
pub(super) struct RawPod {
    kind: Option<String>,
    metadata: RawMeta,
    #[serde(default)]
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    uid: String,
    deletion_timestamp: Option<String>,
    annotations: Option<RawAnnotations>,
}

#[derive(Debug, Default, Deserialize)]
struct RawAnnotations {
    #[serde(rename = "kubernetes.io/ingress-bandwidth")]
    ingress: Option<String>,
    #[serde(rename = "kubernetes.io/egress-bandwidth")]
    egress: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    host_network: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct RawStatus {
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

impl Raw for RawPod {
    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// Who turns pods into what the rest of the agent knows.
pub(super) struct OwnPods {
    pub(super) node_name: String,
    pub(super) pods: watch::Sender<Arc<Pods>>,
    pub(super) view: Rc<View>,
}

impl Objects for OwnPods {
    type Raw = RawPod;
    type Key = PodName;
    type Kept = Pod;

    const TOPIC: Topic = Topic::Pods;
    const KIND: &'static str = "Pod";
    const LIST: &'static str = "PodList";
    const PATH: &'static str = "/api/v1/pods";

    fn fields(&self) -> Option<String> {
        Some(format!("spec.nodeName={}", self.node_name))
    }

    fn keep(&self, raw: RawPod) -> (PodName, Pod) {
        let RawPod { metadata, spec, status, .. } = raw;
        let name = PodName { namespace: metadata.namespace.into(), name: metadata.name.into() };
        let ips = status.pod_ips.into_iter().flatten().filter_map(|ip| ip.ip).chain(status.pod_ip);
        let addresses: BTreeSet<IpAddr> = ips.filter_map(|text| text.parse().ok()).collect();
        let pod = Pod {
            uid: metadata.uid.into(),
            bandwidth: bandwidth(&name, &metadata.annotations.unwrap_or_default()),
            host_network: spec.host_network.unwrap_or_default(),
            addresses: addresses.into_iter().collect(),
            phase: match status.phase.as_deref() {
                None | Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some(_) => Phase::Over,
            },
            deleting: metadata.deletion_timestamp.is_some(),
        };
        (name, pod)
    }

    /// A node without pods is nothing strange, and nothing is taken away with them.
    fn trusts(&self, _: &BTreeMap<PodName, Pod>) -> bool {
        true
    }

    fn publish(&mut self, all: &BTreeMap<PodName, Pod>, _: &BTreeSet<PodName>) {
        let wrong = all.values().filter_map(|pod| pod.bandwidth.as_ref().err());
        self.view.found(Topic::Pods, all.len(), wrong.take(NAMED).cloned().collect());
        self.pods.send_replace(Arc::new(Pods { by_name: all.clone() }));
    }
}

/// What the annotations ask for, by the kubelet's rules; none at all without them.
fn bandwidth(pod: &PodName, annotations: &RawAnnotations) -> Result<Option<Bandwidth>, String> {
    let RawAnnotations { ingress, egress } = annotations;
    let limit = |annotation: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let wrong = |why: &dyn std::fmt::Display| {
            let PodName { namespace, name } = pod;
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

    fn read(object: serde_json::Value) -> Pod {
        let pods = OwnPods {
            node_name: "n1".to_owned(),
            pods: watch::Sender::new(Arc::default()),
            view: Rc::new(View::default()),
        };
        pods.keep(serde_json::from_value(object).unwrap()).1
    }

    fn annotated(annotations: serde_json::Value) -> Result<Option<Bandwidth>, String> {
        read(json!({"metadata": {"name": "web", "namespace": "shop", "annotations": annotations}})).bandwidth
    }

    #[test]
    fn what_a_node_needs_of_a_pod() {
        let pod = read(json!({
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hostNetwork": true, "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}, {"ip": "fd00::2"}]},
        }));
        assert_eq!((&*pod.uid, pod.phase, pod.host_network, pod.deleting), ("u1", Phase::Running, true, true));
        assert_eq!(*pod.addresses, ["10.244.1.2", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap()));
        let pod = read(json!({"metadata": {"name": "web"}, "status": {"phase": "Failed", "podIPs": null}}));
        assert_eq!((pod.phase, pod.host_network, pod.deleting, pod.bandwidth), (Phase::Over, false, false, Ok(None)));
    }

    #[test]
    fn annotations_limit_as_the_kubelet_reads_them() {
        let limit = |rate| Some(RateLimit { rate, burst: 0 });
        assert_eq!(annotated(json!({"team": "a"})), Ok(None));
        assert_eq!(
            annotated(json!({INGRESS: "10M", EGRESS: "1Gi", "team": "a"})),
            Ok(Some(Bandwidth { ingress: limit(10_000_000), egress: limit(1 << 30) }))
        );
        assert_eq!(annotated(json!({EGRESS: "1k"})), Ok(Some(Bandwidth { ingress: None, egress: limit(1000) })));
        for (annotations, parts) in [
            (json!({INGRESS: "10mb"}), ["shop/web", INGRESS, "\"10mb\"", "10M"]),
            (json!({EGRESS: "999"}), ["shop/web", EGRESS, "\"999\"", "1000 bit/s"]),
            (json!({EGRESS: "0"}), ["shop/web", EGRESS, "\"0\"", "too slow"]),
            (json!({EGRESS: "2P"}), ["shop/web", EGRESS, "\"2P\"", "too fast"]),
            (json!({INGRESS: "1M", EGRESS: ""}), ["shop/web", EGRESS, "\"\"", "10M"]),
        ] {
            let error = annotated(annotations).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
