//! The objects that scenarios make.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};
use weft_agent::connectivity::Question;

use super::cluster::Place;

/// Port of servers, TCP and UDP.
pub(super) const PORT: u16 = 8080;

/// Where the certificate that vouches for the API server is mounted.
pub(super) const AUTHORITY: &str = "/authority/ca.crt";

/// Where the agent's run directory is mounted.
pub(super) const RUN_DIR: &str = "/run/weft";

/// Label of the namespaces of all runs, as `key=value`.
pub(super) const OURS: &str = "app.kubernetes.io/managed-by=weft-e2e";

/// What the test pods run.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) reference: String,
    /// Secrets by which it is pulled: a kubelet may want them even where the image is there already.
    pub(super) pull_secrets: Vec<String>,
}

/// A pod to be.
#[derive(Clone, Debug, Default)]
pub(super) struct PodPlan {
    pub(super) name: String,
    pub(super) node: String,
    /// Whether it shares the node's network.
    pub(super) host: bool,
    /// Port of its server, if it has one.
    pub(super) serve: Option<u16>,
    /// What its client asks, if it has one.
    pub(super) ask: Vec<Question>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// Port of the node, TCP and UDP, that is its server's.
    pub(super) host_port: Option<u16>,
    /// Whether the kubelet probes its server.
    pub(super) probed: bool,
    /// Directory of the node where the agent's socket is.
    pub(super) run_dir: Option<String>,
    /// Whether it needs the certificate that vouches for the API server.
    pub(super) authority: bool,
}

impl PodPlan {
    pub(super) fn server(name: &str, place: &Place) -> Self {
        let labels = BTreeMap::from([("server".to_owned(), name.to_owned())]);
        let (name, node) = (name.to_owned(), place.name.clone());
        Self { name, node, serve: Some(PORT), labels, ..Self::default() }
    }

    pub(super) fn client(name: &str, place: &Place, ask: Vec<Question>) -> Self {
        Self { name: name.to_owned(), node: place.name.clone(), ask, ..Self::default() }
    }

    pub(super) fn pod(&self, image: &Image) -> Result<Pod> {
        let mut containers = Vec::new();
        if let Some(port) = self.serve {
            containers.push(self.serving(&image.reference, port));
        }
        if !self.ask.is_empty() {
            containers.push(self.asking(&image.reference)?);
        }
        let mut volumes = Vec::new();
        if let Some(path) = &self.run_dir {
            volumes.push(json!({ "name": "run", "hostPath": { "path": path } }));
        }
        if self.authority {
            volumes.push(json!({ "name": "authority", "configMap": { "name": "kube-root-ca.crt" } }));
        }
        let secrets: Vec<_> = image.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        let pod = json!({
            "metadata": { "name": self.name, "labels": self.labels, "annotations": self.annotations },
            "spec": {
                // The scheduler has no say: a scenario is about a node, tainted or not.
                "nodeName": self.node,
                "tolerations": [{ "operator": "Exists" }],
                "hostNetwork": self.host,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "imagePullSecrets": secrets,
                "containers": containers,
                "volumes": volumes,
            },
        });
        serde_json::from_value(pod).context("make a pod")
    }

    fn serving(&self, image: &str, port: u16) -> Value {
        let ports = ["TCP", "UDP"].map(|protocol| {
            let mut entry = json!({ "containerPort": port, "protocol": protocol });
            if let Some(host_port) = self.host_port.or(self.host.then_some(port)) {
                entry["hostPort"] = json!(host_port);
            }
            entry
        });
        let mut container = container("serve", image, &["serve", "--port", &port.to_string()]);
        container["ports"] = json!(ports);
        let (http, tcp) = (json!({ "path": "/", "port": port }), json!({ "port": port }));
        // All servers are awaited by this; only where probes are looked at do they go on.
        container["readinessProbe"] = json!({ "httpGet": http, "periodSeconds": 1, "failureThreshold": 30 });
        if self.probed {
            container["livenessProbe"] = json!({ "tcpSocket": tcp, "periodSeconds": 1, "failureThreshold": 3 });
            container["startupProbe"] = json!({ "httpGet": http, "periodSeconds": 1, "failureThreshold": 30 });
        }
        container
    }

    fn asking(&self, image: &str) -> Result<Value> {
        let mut words = vec!["ask".to_owned(), "--result".to_owned(), "/dev/termination-log".to_owned()];
        for question in &self.ask {
            words.push(serde_json::to_string(question).context("write a question")?);
        }
        let mut container = container("ask", image, &words);
        let mut mounts = Vec::new();
        if self.run_dir.is_some() {
            mounts.push(json!({ "name": "run", "mountPath": RUN_DIR }));
        }
        if self.authority {
            mounts.push(json!({ "name": "authority", "mountPath": "/authority", "readOnly": true }));
        }
        container["volumeMounts"] = json!(mounts);
        Ok(container)
    }
}

fn container(name: &str, image: &str, words: &[impl AsRef<str>]) -> Value {
    let mut command = vec!["/bin/weft", "connectivity"];
    command.extend(words.iter().map(AsRef::as_ref));
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [
            field("WEFT_POD_IPS", "status.podIPs"),
            field("WEFT_POD_NAME", "metadata.name"),
            field("WEFT_NODE_NAME", "spec.nodeName"),
        ],
        "securityContext": { "allowPrivilegeEscalation": false },
    })
}

/// How a service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// By an address of its own.
    #[default]
    ClusterIp,
    /// By a port of every node as well.
    NodePort,
    /// The same, but only pods of the node that was asked answer.
    NodePortLocal,
    /// By its pods' addresses alone.
    Headless,
}

/// How a service behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServicePlan<'a> {
    pub(super) name: &'a str,
    /// Label that its pods bear.
    pub(super) label: (&'a str, &'a str),
    pub(super) kind: Kind,
    /// Whether a client always gets the same pod.
    pub(super) sticky: bool,
}

impl ServicePlan<'_> {
    pub(super) fn service(&self) -> Result<Service> {
        let port = |protocol: &str| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": PORT });
        let mut spec = json!({
            "selector": { self.label.0: self.label.1 },
            "ipFamilyPolicy": "PreferDualStack",
            "type": if matches!(self.kind, Kind::NodePort | Kind::NodePortLocal) { "NodePort" } else { "ClusterIP" },
            // A pod that asks itself is not ready any more once it has asked.
            "publishNotReadyAddresses": true,
            "ports": [port("TCP"), port("UDP")],
        });
        if self.kind == Kind::NodePortLocal {
            spec["externalTrafficPolicy"] = json!("Local");
        }
        if self.sticky {
            spec["sessionAffinity"] = json!("ClientIP");
        }
        if self.kind == Kind::Headless {
            spec["clusterIP"] = json!("None");
        }
        serde_json::from_value(json!({ "metadata": { "name": self.name }, "spec": spec })).context("make a service")
    }
}

#[cfg(test)]
mod tests {
    use weft_agent::connectivity::{Finish, MESSAGE_BYTES};

    use super::*;

    fn image() -> Image {
        Image { reference: "weft:1".into(), pull_secrets: vec!["key".into()] }
    }

    fn place() -> Place {
        Place { name: "n1".into(), addresses: Vec::new(), room: 10 }
    }

    #[test]
    fn clients_leave_their_answers_where_the_kubelet_finds_them() {
        let ask = vec![Question::Finish(Finish { to: "10.0.0.1:80".into() })];
        let pod = PodPlan::client("c", &place(), ask).pod(&image()).unwrap();
        let spec = pod.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("n1"));
        assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "key");
        let container = &spec.containers[0];
        assert_eq!(container.image.as_deref(), Some("weft:1"));
        let command = container.command.as_ref().unwrap().join(" ");
        let wanted = r#"/bin/weft connectivity ask --result /dev/termination-log {"finish":{"to":"10.0.0.1:80"}}"#;
        assert_eq!(command, wanted);
        assert_eq!(container.termination_message_path, None, "the default is what is written to");
        assert_eq!(MESSAGE_BYTES, 4096, "what a kubelet takes");
    }

    #[test]
    fn servers_bear_their_ports() {
        let pod = PodPlan { host_port: Some(81), ..PodPlan::server("s", &place()) }.pod(&image()).unwrap();
        let ports = pod.spec.unwrap().containers[0].ports.clone().unwrap();
        assert!(ports.iter().all(|port| port.host_port == Some(81) && port.container_port == 8080));
        let plan = ServicePlan { name: "s", label: ("server", "s"), kind: Kind::Headless, ..ServicePlan::default() };
        assert_eq!(plan.service().unwrap().spec.unwrap().cluster_ip.as_deref(), Some("None"));
    }
}
