//! What kind of cluster it is: nodes, families, where weft is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};

use super::Options;

/// Nodes on which scenarios run, at most.
const NODES: usize = 2;

/// Where pods are put.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    /// Its `InternalIP`s.
    pub(super) addresses: Vec<IpAddr>,
    /// How many pods it takes.
    pub(super) room: usize,
}

/// Where weft is.
#[derive(Clone, Debug)]
pub(super) struct Weft {
    pub(super) namespace: String,
    pub(super) daemon_set: String,
    pub(super) image: String,
    /// Its pods, as `key=value,...`.
    pub(super) selector: String,
    /// Directory of the nodes where its agents' sockets are.
    pub(super) run_dir: Option<String>,
    /// Whether it replaces its pods by itself when its template changes.
    pub(super) rolls: bool,
}

/// A cluster as it was found.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) version: String,
    pub(super) places: Vec<Place>,
    pub(super) nodes: usize,
    pub(super) weft: Option<Weft>,
    pub(super) image: String,
    /// Address of the API server as pods know it.
    pub(super) api: Vec<String>,
    /// Whether there is a service for names.
    pub(super) dns: bool,
}

impl Cluster {
    pub(super) async fn find(options: &Options) -> Result<Self> {
        let client = connect(options).await?;
        let version = client.apiserver_version().await.context("ask the API server for its version")?.git_version;
        let weft = find_weft(&client).await?;
        let Some(image) = options.image.clone().or_else(|| weft.as_ref().map(|weft| weft.image.clone())) else {
            bail!("no DaemonSet of weft in this cluster: install it, or give --image to test what is there");
        };
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.context("list nodes")?.items;
        let served = match &weft {
            Some(weft) => Some(served(&client, weft).await?),
            None => None,
        };
        let fit = |node: &&Node| {
            let has_agent = served.as_ref().is_none_or(|served| served.contains_key(&node.name_any()));
            has_agent && condition(node, "Ready") == Some("True")
        };
        let mut fitting: Vec<&Node> = nodes.iter().filter(fit).collect();
        // Workers first: they are what pods usually run on.
        fitting
            .sort_by_key(|node| (node.labels().contains_key("node-role.kubernetes.io/control-plane"), node.name_any()));
        let places: Vec<Place> = fitting.into_iter().take(NODES).map(place).collect();
        if places.is_empty() {
            bail!(
                "none of {} nodes is Ready and has a ready pod of weft: look at `kubectl get nodes,pods -A`",
                nodes.len()
            );
        }
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        let api = services.get("kubernetes").await.context("get the service default/kubernetes")?;
        let everywhere: Api<Service> = Api::all(client.clone());
        let dns = everywhere.list(&ListParams::default().labels("k8s-app=kube-dns")).await.context("list services")?;
        Ok(Self {
            version,
            nodes: nodes.len(),
            places,
            weft,
            image,
            api: api.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default(),
            dns: !dns.items.is_empty(),
            client,
        })
    }

    /// What the report begins with.
    pub(super) fn facts(&self) -> Vec<String> {
        let names: Vec<_> = self.places.iter().map(|place| place.name.as_str()).collect();
        let weft = match &self.weft {
            Some(weft) => format!("weft: DaemonSet {}/{}, image {}", weft.namespace, weft.daemon_set, weft.image),
            None => "weft: not installed".to_owned(),
        };
        vec![
            format!("Kubernetes {}, {} nodes, pods on {}", self.version, self.nodes, names.join(" and ")),
            weft,
            format!("image of the test pods: {}", self.image),
        ]
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.facts().join("\n"))
    }
}

async fn connect(options: &Options) -> Result<Client> {
    let path = &options.kubeconfig;
    let text = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(text, &KubeConfigOptions::default()).await;
    let config = config.with_context(|| format!("use {}", path.display()))?;
    Client::try_from(config).context("make a client of the kubeconfig")
}

/// The state of a condition of a node.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

fn place(node: &Node) -> Place {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    let addresses = addresses.filter(|address| address.type_ == "InternalIP");
    let pods = status.and_then(|status| status.allocatable.as_ref()?.get("pods")?.0.parse().ok());
    Place {
        name: node.name_any(),
        addresses: addresses.filter_map(|address| address.address.parse().ok()).collect(),
        room: pods.unwrap_or(110),
    }
}

/// The `DaemonSet` whose pods run the agent, whatever it is called.
async fn find_weft(client: &Client) -> Result<Option<Weft>> {
    let all: Api<DaemonSet> = Api::all(client.clone());
    let all = all.list(&ListParams::default()).await.context("list DaemonSets")?;
    Ok(all.items.iter().find_map(weft_of))
}

fn weft_of(set: &DaemonSet) -> Option<Weft> {
    let spec = set.spec.as_ref()?;
    let pod = spec.template.spec.as_ref()?;
    let container = pod.containers.iter().find(|container| {
        let words = container.command.iter().chain(&container.args).flatten();
        words.into_iter().any(|word| word.rsplit('/').next() == Some("weft-agent"))
    });
    // Clean-up runs the same program and serves nobody.
    let cleans = |word: &String| word == "cleanup";
    let container = container.filter(|one| !one.command.iter().chain(&one.args).flatten().any(cleans))?;
    let labels = spec.selector.match_labels.iter().flatten();
    let volumes = pod.volumes.iter().flatten().filter_map(|volume| volume.host_path.as_ref());
    let run_dir = volumes.map(|path| path.path.trim_end_matches('/')).find(|path| path.ends_with("/run/weft"));
    let strategy = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    Some(Weft {
        namespace: set.namespace()?,
        daemon_set: set.name_any(),
        image: container.image.clone()?,
        selector: labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        run_dir: run_dir.map(str::to_owned),
        rolls: strategy != Some("OnDelete"),
    })
}

/// Weft's ready pods, by the node that they are on.
pub(super) async fn served(client: &Client, weft: &Weft) -> Result<BTreeMap<String, Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &weft.namespace);
    let pods = pods.list(&ListParams::default().labels(&weft.selector)).await.context("list weft's pods")?;
    let ready = pods.items.into_iter().filter(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    Ok(ready.filter_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, pod))).collect())
}

/// Whether all of its containers are.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(args: &[&str]) -> DaemonSet {
        let container = json!({ "name": "agent", "image": "weft:1", "command": ["/bin/weft-agent"], "args": args });
        let volumes = json!([
            { "name": "bpf", "hostPath": { "path": "/sys/fs/bpf" } },
            { "name": "run", "hostPath": { "path": "/run/weft" } },
        ]);
        let labels = json!({ "app": "weft" });
        serde_json::from_value(json!({
            "metadata": { "name": "net", "namespace": "here" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container], "volumes": volumes } },
            },
        }))
        .unwrap()
    }

    #[test]
    fn weft_is_known_by_what_it_runs() {
        let weft = weft_of(&set(&["--config-dir", "/etc/weft"])).unwrap();
        assert_eq!((weft.namespace.as_str(), weft.daemon_set.as_str()), ("here", "net"));
        assert_eq!((weft.image.as_str(), weft.selector.as_str()), ("weft:1", "app=weft"));
        assert_eq!((weft.run_dir.as_deref(), weft.rolls), (Some("/run/weft"), true));
        assert!(weft_of(&set(&["cleanup", "--stay"])).is_none());
    }
}
