//! Where weft is, and whether it is on every node that it is meant for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::cluster::{condition, is_ready};
use super::pods::state;

/// Pause between two looks at a cluster that is not whole yet.
const PACE: Duration = Duration::from_secs(1);

/// Where weft is.
#[derive(Clone, Debug)]
pub(super) struct Weft {
    pub(super) namespace: String,
    pub(super) daemon_set: String,
    pub(super) image: String,
    /// Secrets by which its image is pulled.
    pub(super) pull_secrets: Vec<String>,
    /// Its pods, as `key=value,...`.
    pub(super) selector: String,
    /// Directory of the nodes where its agents' sockets are.
    pub(super) run_dir: Option<String>,
    /// Whether it replaces its pods by itself when its template changes.
    pub(super) rolls: bool,
}

/// The `DaemonSet` that runs the agent, whatever it is called.
pub(super) async fn find(client: &Client) -> Result<Option<Weft>> {
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
        pull_secrets: pod.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect(),
        selector: labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        run_dir: run_dir.map(str::to_owned),
        rolls: strategy != Some("OnDelete"),
    })
}

/// Its pods that are to stay.
async fn pods(client: &Client, weft: &Weft) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &weft.namespace);
    let pods = pods.list(&ListParams::default().labels(&weft.selector)).await.context("list weft's pods")?;
    Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Weft's ready pods, by the node that they are on.
pub(super) async fn served(client: &Client, weft: &Weft) -> Result<BTreeMap<String, Pod>> {
    let ready = pods(client, weft).await?.into_iter().filter(is_ready);
    Ok(ready.filter_map(|pod| Some((node_of(&pod)?.to_owned(), pod))).collect())
}

/// What is wrong with weft on the nodes that it is meant for; nothing when all have a ready agent and are Ready.
pub(super) async fn missing(client: &Client, weft: &Weft) -> Result<Vec<String>> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), &weft.namespace);
    let set = sets.get(&weft.daemon_set).await.context("get weft's DaemonSet")?;
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.context("list nodes")?;
    Ok(wrong(&set, &pods(client, weft).await?, &nodes.items))
}

fn wrong(set: &DaemonSet, pods: &[Pod], nodes: &[Node]) -> Vec<String> {
    let status = set.status.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    if status.observed_generation < set.metadata.generation {
        wrong.push("no controller has looked at weft's DaemonSet".to_owned());
    }
    if usize::try_from(status.desired_number_scheduled).unwrap_or_default() > pods.len() {
        wrong.push(format!("weft has {} pods for {} nodes", pods.len(), status.desired_number_scheduled));
    }
    for pod in pods {
        let name = node_of(pod).unwrap_or("no node");
        if !is_ready(pod) {
            wrong.push(format!("pod {} of weft on {name} is not ready: {}", pod.name_any(), state(pod)));
        }
        if let Some(node) = nodes.iter().find(|node| node.name_any() == name)
            && condition(node, "Ready") != Some("True")
        {
            wrong.push(format!("node {name} is not Ready"));
        }
    }
    wrong
}

/// Waits until nothing is wrong, or the time is over: what is still wrong then.
pub(super) async fn settle(client: &Client, weft: &Weft, patience: Duration) -> Result<Vec<String>> {
    let end = Instant::now() + patience;
    loop {
        let wrong = missing(client, weft).await?;
        if wrong.is_empty() || Instant::now() >= end {
            return Ok(wrong);
        }
        tokio::time::sleep(PACE).await;
    }
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

    #[test]
    fn a_node_without_a_ready_agent_is_named() {
        let pod = |name: &str, node: &str, ready: &str| -> Pod {
            let conditions = json!([{ "type": "Ready", "status": ready }]);
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "nodeName": node, "containers": [] },
                "status": { "phase": "Running", "conditions": conditions },
            }))
            .unwrap()
        };
        let node = |name: &str, ready: &str| -> Node {
            let conditions = json!([{ "type": "Ready", "status": ready }]);
            serde_json::from_value(json!({ "metadata": { "name": name }, "status": { "conditions": conditions } }))
                .unwrap()
        };
        let mut set = set(&[]);
        set.metadata.generation = Some(1);
        let nodes = [node("a", "True"), node("b", "True")];
        assert_eq!(wrong(&set, &[], &nodes), ["no controller has looked at weft's DaemonSet"]);
        let status = json!({ "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0 });
        set.status = Some(serde_json::from_value(status).unwrap());
        let good = pod("x", "a", "True");
        assert_eq!(wrong(&set, std::slice::from_ref(&good), &nodes), ["weft has 1 pods for 2 nodes"]);
        let bad = pod("y", "b", "False");
        assert_eq!(wrong(&set, &[good.clone(), bad], &nodes), ["pod y of weft on b is not ready: Running"]);
        let both = [good, pod("y", "b", "True")];
        assert_eq!(wrong(&set, &both, &[node("a", "True"), node("b", "False")]), ["node b is not Ready"]);
        assert!(wrong(&set, &both, &nodes).is_empty());
    }
}
