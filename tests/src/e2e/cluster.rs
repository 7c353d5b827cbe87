//! What kind of cluster it is: nodes, families, where weft is.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};

use super::Options;
use super::manifest::{Image, OURS};
use super::weft::{self, Weft};

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

/// The servers of names.
#[derive(Clone, Debug)]
pub(super) struct Dns {
    pub(super) namespace: String,
    /// Its pods, as `key=value,...`.
    pub(super) selector: String,
}

/// A cluster as it was found.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) version: String,
    pub(super) places: Vec<Place>,
    pub(super) nodes: usize,
    pub(super) weft: Option<Weft>,
    pub(super) image: Image,
    /// Why it was not whole when the time to wait for that was over.
    unsettled: Vec<String>,
    /// Namespaces of other runs, which may have been broken off.
    others: Vec<String>,
    /// Address of the API server as pods know it.
    pub(super) api: Vec<String>,
    /// Who answers for names.
    pub(super) dns: Option<Dns>,
}

impl Cluster {
    pub(super) async fn find(options: &Options) -> Result<Self> {
        let client = connect(options).await?;
        let version = client.apiserver_version().await.context("ask the API server for its version")?.git_version;
        let weft = weft::find(&client).await?;
        let Some(reference) = options.image.clone().or_else(|| weft.as_ref().map(|weft| weft.image.clone())) else {
            bail!("no DaemonSet of weft in this cluster: install it, or give --image to test what is there");
        };
        let (served, unsettled) = match &weft {
            Some(weft) => {
                let unsettled = weft::settle(&client, weft, options.wait).await?;
                (Some(weft::served(&client, weft).await?), unsettled)
            }
            None => (None, Vec::new()),
        };
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.context("list nodes")?.items;
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
            bail!("none of {} nodes is Ready and has a ready pod of weft: {}", nodes.len(), unsettled.join("; "));
        }
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        let api = services.get("kubernetes").await.context("get the service default/kubernetes")?;
        let everywhere: Api<Service> = Api::all(client.clone());
        let dns = everywhere.list(&ListParams::default().labels("k8s-app=kube-dns")).await.context("list services")?;
        let dns = dns.items.iter().find_map(|service| {
            let selector = service.spec.as_ref()?.selector.iter().flatten();
            let selector = selector.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            Some(Dns { namespace: service.namespace()?, selector })
        });
        let spaces: Api<Namespace> = Api::all(client.clone());
        let others = spaces.list(&ListParams::default().labels(OURS)).await.context("list namespaces")?;
        let pull_secrets = weft.as_ref().map(|weft| weft.pull_secrets.clone()).unwrap_or_default();
        Ok(Self {
            version,
            nodes: nodes.len(),
            places,
            weft,
            image: Image { reference, pull_secrets },
            unsettled,
            others: others.items.iter().map(ResourceExt::name_any).collect(),
            api: api.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default(),
            dns,
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
        let mut facts = vec![
            format!("Kubernetes {}, {} nodes, pods on {}", self.version, self.nodes, names.join(" and ")),
            weft,
            format!("image of the test pods: {}", self.image.reference),
        ];
        facts.extend(self.unsettled.iter().map(|why| format!("not whole: {why}")));
        if !self.others.is_empty() {
            let others = self.others.join(" ");
            facts.push(format!("other runs, under way or broken off: kubectl delete namespace {others}"));
        }
        facts
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

/// Whether all of its containers are.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
