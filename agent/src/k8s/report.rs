//! What the agent tells the cluster of its node: that its network is up.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::config::KubernetesConfig;
use crate::text;

use super::K8sError;
use super::client::{ApiServer, RETRY};
use super::node::Node;
use super::objects::Object;
use super::view::View;

/// Cloud providers' kubelets begin with it, and pods wait until it is false.
pub(super) const UNAVAILABLE: &str = "NetworkUnavailable";
/// Keeps pods off the node until somebody takes it away.
pub(super) const NOT_READY: &str = "weft.dev/agent-not-ready";
pub(super) const REASON: &str = "WeftIsUp";
/// How soon the watch tells of a change that was made; then it is looked at again.
const SEEN: Duration = Duration::from_secs(1);
/// For how long somebody may be faster than the watch.
const OVERTAKEN: Duration = Duration::from_secs(10);
/// Whoever changes it back that seldom is not fought with.
const CALM: Duration = Duration::from_secs(60);
/// What a patch gets whose object is not as it says.
const CONFLICT: u16 = 409;
const UNPROCESSABLE: u16 = 422;

/// What of a node's object the report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Whether somebody says that its network is up.
    pub(super) available: bool,
    /// Whether that somebody is weft.
    pub(super) ours: bool,
    /// Where among its taints ours are.
    pub(super) taints: Box<[usize]>,
}

impl Marks {
    fn are_right(&self) -> bool {
        self.available && self.taints.is_empty()
    }
}

/// Keeps the node's condition `NetworkUnavailable` false and its taint `weft.dev/agent-not-ready` off.
pub(crate) struct Report {
    pub(super) api: Arc<ApiServer>,
    pub(super) node_name: String,
    /// As its object has them; `None` while there is none.
    pub(super) marks: watch::Receiver<Option<Marks>>,
    pub(super) view: Rc<View>,
}

impl Report {
    /// Begins when the agent is ready, puts right what somebody changes, and ends with the watching.
    pub(crate) async fn run(mut self, mut ready: watch::Receiver<bool>) {
        if ready.wait_for(|ready| *ready).await.is_err() {
            return;
        }
        let mut waits = RETRY.build();
        let mut overtaken: Option<Instant> = None;
        loop {
            let wrong = self.marks.wait_for(|marks| marks.as_ref().is_some_and(|marks| !marks.are_right())).await;
            let Ok(Some(marks)) = wrong.map(|marks| marks.clone()) else { return };
            let begun = Instant::now();
            let failure = self.mend(&marks).await.err().map(K8sError::from);
            if let Some(K8sError::Refused { code: CONFLICT | UNPROCESSABLE, .. }) = failure {
                // Somebody was faster than the watch, which tells soon what there is now.
                if overtaken.get_or_insert(begun).elapsed() < OVERTAKEN {
                    sleep(waits.next().unwrap_or_default()).await;
                    continue;
                }
            }
            let failed = failure.is_some();
            self.view.reported(failure.map(|error| {
                format!("cannot report node {} to be ready: the API server {}", self.node_name, text::chain(&error))
            }));
            if !failed {
                overtaken = None;
                // What was just done comes back by the watch, each step by itself.
                let _ = timeout(SEEN, self.marks.wait_for(|marks| marks.as_ref().is_none_or(Marks::are_right))).await;
                if begun.elapsed() >= CALM {
                    waits = RETRY.build();
                }
            }
            sleep(waits.next().unwrap_or_default()).await;
        }
    }

    async fn mend(&self, marks: &Marks) -> Result<(), kube::Error> {
        let nodes = nodes(&self.api);
        if !marks.available {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let condition = json!({
                "type": UNAVAILABLE,
                "status": "False",
                "reason": REASON,
                "message": "weft carries the packets of this node's pods",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            });
            nodes.patch_status(&self.node_name, &by_weft(), &conditions(&condition)).await?;
        }
        if !marks.taints.is_empty() {
            let removal = serde_json::from_value(removal(&marks.taints)).map_err(kube::Error::SerdeError)?;
            nodes.patch(&self.node_name, &by_weft(), &Patch::Json::<()>(removal)).await?;
            log::info!("node {}: taint {NOT_READY} is removed", self.node_name);
        }
        Ok(())
    }
}

/// Takes the condition back: the node has no network of ours any more. Another's stays.
///
/// # Errors
/// The API server was not reached, or refused.
pub(crate) async fn withdraw(config: &KubernetesConfig, node_name: &str) -> Result<(), K8sError> {
    let nodes = nodes(&ApiServer::new(config.clone()));
    if nodes.get_opt(node_name).await?.is_some_and(|node| node.used.marks.ours) {
        let gone = conditions(&json!({"$patch": "delete", "type": UNAVAILABLE}));
        nodes.patch_status(node_name, &by_weft(), &gone).await?;
    }
    Ok(())
}

fn nodes(api: &Arc<ApiServer>) -> Api<Object<Node>> {
    Api::all(api.client())
}

fn by_weft() -> PatchParams {
    PatchParams { field_manager: Some("weft".to_owned()), ..PatchParams::default() }
}

/// Strategic: conditions are merged by their types.
fn conditions(condition: &Value) -> Patch<Value> {
    Patch::Strategic(json!({"status": {"conditions": [condition]}}))
}

/// Removes taints by their places, the last first so that no place moves; nothing where one of them is another's by now.
fn removal(places: &[usize]) -> Value {
    let steps = places.iter().rev().flat_map(|at| {
        let path = format!("/spec/taints/{at}");
        [
            json!({"op": "test", "path": format!("{path}/key"), "value": NOT_READY}),
            json!({"op": "remove", "path": path}),
        ]
    });
    steps.collect()
}
