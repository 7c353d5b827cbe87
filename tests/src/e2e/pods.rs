//! Pods that come, tell what they have to tell, and go.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use weft_agent::connectivity::Told;

use super::cluster::is_ready;
use super::manifest::{Image, PodPlan};
use super::until;

/// How long a pod may take to start: an image may have to be pulled first.
const START: Duration = Duration::from_secs(120);

/// How long a pod may take to go.
const END: Duration = Duration::from_secs(90);

/// How long the controllers may take to prepare a new namespace.
const NAMESPACE: Duration = Duration::from_secs(30);

/// Waiting for these is in vain.
const HOPELESS: [&str; 3] = ["ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"];

/// The pods of the namespace.
#[derive(Clone)]
pub(super) struct Pods {
    api: Api<Pod>,
    events: Api<Event>,
    image: Image,
}

impl Pods {
    pub(super) fn new(client: &Client, namespace: &str, image: &Image) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        let events = Api::namespaced(client.clone(), namespace);
        Self { api, events, image: image.clone() }
    }

    pub(super) async fn create(&self, plan: &PodPlan) -> Result<()> {
        let pod = plan.pod(&self.image)?;
        until(&format!("create pod {}", plan.name), NAMESPACE, async || {
            match self.api.create(&PostParams::default(), &pod).await {
                Ok(_) => Ok(Ok(())),
                // A new namespace has no service account yet.
                Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => {
                    Ok(Err(status.message.clone()))
                }
                Err(error) => Err(error).with_context(|| format!("create pod {}", plan.name)),
            }
        })
        .await
    }

    /// Waits until its server is ready.
    pub(super) async fn ready(&self, name: &str) -> Result<Pod> {
        self.await_state(name, "be ready", START, is_ready).await
    }

    /// Waits until its client runs.
    pub(super) async fn running(&self, name: &str) -> Result<Pod> {
        let runs = |pod: &Pod| asking(pod).and_then(|ask| ask.state.as_ref()?.running.as_ref()).is_some();
        self.await_state(name, "run", START, runs).await
    }

    /// Waits until its client has asked, and removes it.
    pub(super) async fn told(&self, name: &str, patience: Duration) -> Result<Told> {
        let ended = |pod: &Pod| message(pod).is_some();
        let pod = self.await_state(name, "end", START + patience, ended).await?;
        self.api.delete(name, &DeleteParams::default()).await.with_context(|| format!("delete pod {name}"))?;
        let (code, text) = message(&pod).context("a pod that ended without a word")?;
        serde_json::from_str(text).map_err(|_| anyhow!("pod {name} ended with code {code} and told {text:?}"))
    }

    pub(super) async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } });
        let patched = self.api.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await;
        patched.map(drop).with_context(|| format!("annotate pod {name}"))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        match self.api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("delete pod {name}")),
        }
        until(&format!("pod {name} goes"), END, async || {
            let pod = self.api.get_opt(name).await.context("get a pod")?;
            Ok(if pod.is_none() { Ok(()) } else { Err("it is still there".to_owned()) })
        })
        .await
    }

    /// Deletes all that bear the label, and waits until they are gone.
    pub(super) async fn delete_all(&self, label: &str) -> Result<()> {
        let which = ListParams::default().labels(label);
        self.api.delete_collection(&DeleteParams::default(), &which).await.context("delete pods")?;
        until("pods go", END, async || match self.api.list(&which).await.context("list pods")?.items.len() {
            0 => Ok(Ok(())),
            left => Ok(Err(format!("{left} are still there"))),
        })
        .await
    }

    async fn await_state(&self, name: &str, what: &str, limit: Duration, done: impl Fn(&Pod) -> bool) -> Result<Pod> {
        let waited = until(&format!("pod {name} should {what}"), limit, async || {
            let pod = self.api.get(name).await.with_context(|| format!("get pod {name}"))?;
            if done(&pod) {
                return Ok(Ok(pod));
            }
            match standstill(&pod) {
                Some(why) => bail!("pod {name} will not {what}: {why}"),
                None => Ok(Err(state(&pod))),
            }
        })
        .await;
        match waited {
            Ok(pod) => Ok(pod),
            Err(error) => Err(error.context(self.events_of(name).await)),
        }
    }

    /// What the cluster has to say about a pod, newest last.
    async fn events_of(&self, name: &str) -> String {
        let which = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = match self.events.list(&which).await {
            Ok(events) => events.items,
            Err(error) => return format!("events of {name} cannot be listed ({error})"),
        };
        let tell = |event: &Event| {
            let (reason, text) = (event.reason.as_deref()?, event.message.as_deref()?);
            (event.type_.as_deref() != Some("Normal")).then(|| format!("{reason}: {}", text.trim()))
        };
        let mut told: Vec<_> = events.iter().filter_map(tell).collect();
        told.dedup();
        let last = told.split_off(told.len().saturating_sub(3));
        if last.is_empty() { format!("pod {name} has no warnings") } else { last.join("; ") }
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).into_iter().flatten()
}

fn asking(pod: &Pod) -> Option<&ContainerStatus> {
    containers(pod).find(|container| container.name == "ask")
}

/// Exit code and last words of its client.
fn message(pod: &Pod) -> Option<(i32, &str)> {
    let ended = asking(pod)?.state.as_ref()?.terminated.as_ref()?;
    Some((ended.exit_code, ended.message.as_deref().unwrap_or_default()))
}

/// Restarts of its containers.
pub(super) fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// Why nothing more will come of it.
fn standstill(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        return Some(state(pod));
    }
    let waiting = containers(pod).filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let hopeless = |reason: &Option<String>| reason.as_deref().is_some_and(|reason| HOPELESS.contains(&reason));
    let stuck = waiting.into_iter().find(|waiting| hopeless(&waiting.reason))?;
    let (reason, text) = (stuck.reason.as_deref().unwrap_or_default(), stuck.message.as_deref().unwrap_or_default());
    Some(format!("{reason}: {text}"))
}

/// The image that it waits for in vain.
pub(super) fn lacks_image(pod: &Pod) -> Option<String> {
    let waits = |container: &&ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        matches!(waiting, Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull"))
    };
    containers(pod).find(waits).map(|container| container.image.clone())
}

/// Its phase, and what its containers wait for or ended with.
pub(super) fn state(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "no kubelet has looked at it".to_owned() };
    let mut words = vec![status.phase.clone().unwrap_or_else(|| "no phase".to_owned())];
    words.extend([&status.reason, &status.message].into_iter().flatten().cloned());
    for container in containers(pod) {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting {
            words.extend([&waiting.reason, &waiting.message].into_iter().flatten().cloned());
        }
        if let Some(ended) = &state.terminated {
            let text = ended.message.as_deref().unwrap_or_default();
            words.push(format!("{} ended with code {} {text}", container.name, ended.exit_code));
        }
    }
    words.join(", ")
}

/// Whether all of its containers have ended for good.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Its addresses, in their order.
pub(super) fn addresses(pod: &Pod) -> Result<Vec<std::net::IpAddr>> {
    let all = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let addresses: Vec<_> = all.filter_map(|one| one.ip.parse().ok()).collect();
    if addresses.is_empty() {
        bail!("pod {} has no address", pod.name_any());
    }
    Ok(addresses)
}
