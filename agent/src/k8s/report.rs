//! What the agent tells the cluster of its node: that its network is up.

use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::config::KubernetesConfig;
use crate::text;

use super::K8sError;
use super::backoff::Backoff;
use super::client::{ApiServer, Patch};
use super::view::View;

/// Cloud providers' kubelets begin with it, and pods wait until it is false.
pub(super) const UNAVAILABLE: &str = "NetworkUnavailable";
/// Keeps pods off the node until somebody takes it away.
pub(super) const NOT_READY: &str = "weft.dev/agent-not-ready";
const REASON: &str = "WeftIsUp";
/// How soon the watch tells of a change that was made; then it is looked at again.
const SEEN: Duration = Duration::from_secs(10);
/// Whoever changes it back that seldom is not fought with.
const CALM: Duration = Duration::from_mins(1);
/// An answer about one node, bytes.
const MAX_NODE: usize = 8 << 20;

/// What of this node's object the report is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Whether somebody says that its network is up.
    pub(super) available: bool,
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
    pub(super) api: Rc<ApiServer>,
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
        let mut backoff = Backoff::new();
        loop {
            let wrong = self.marks.wait_for(|marks| marks.as_ref().is_some_and(|marks| !marks.are_right())).await;
            let Ok(Some(marks)) = wrong.map(|marks| marks.clone()) else { return };
            let begun = Instant::now();
            let done = self.mend(&marks).await;
            let failed = done.is_err();
            self.view.reported(done.err().map(|error| {
                format!("cannot report node {} to be ready: the API server {}", self.node_name, text::chain(&error))
            }));
            if failed {
                sleep(backoff.wait()).await;
                continue;
            }
            // What was just done comes back by the watch.
            let _ = timeout(SEEN, self.marks.changed()).await;
            if begun.elapsed() >= CALM {
                backoff.reset();
            }
            sleep(backoff.wait()).await;
        }
    }

    async fn mend(&self, marks: &Marks) -> Result<(), K8sError> {
        let path = path(&self.node_name);
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
            self.api.patch(&format!("{path}/status"), Patch::Strategic, &conditions(&condition)).await?;
        }
        if !marks.taints.is_empty() {
            self.api.patch(&path, Patch::Json, &removal(&marks.taints)).await?;
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
    let (api, path) = (ApiServer::new(config.clone()), path(node_name));
    let mut body = Vec::new();
    let request = hyper::Request::get(&path).body(Vec::new())?;
    match api.read(request, &mut body, MAX_NODE).await {
        Err(K8sError::Refused { code: 404, .. }) => return Ok(()),
        other => other?,
    }
    let node: Reported = serde_json::from_slice(&body).map_err(K8sError::Garbage)?;
    let ours = |condition: &Condition| condition.r#type == UNAVAILABLE && condition.reason.as_deref() == Some(REASON);
    if !node.status.conditions.iter().flatten().any(ours) {
        return Ok(());
    }
    let gone = conditions(&json!({"$patch": "delete", "type": UNAVAILABLE}));
    api.patch(&format!("{path}/status"), Patch::Strategic, &gone).await
}

#[derive(Debug, Deserialize)]
struct Reported {
    #[serde(default)]
    status: ReportedStatus,
}

#[derive(Debug, Default, Deserialize)]
struct ReportedStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    r#type: String,
    reason: Option<String>,
}

fn path(node_name: &str) -> String {
    format!("/api/v1/nodes/{node_name}")
}

fn conditions(condition: &Value) -> Value {
    json!({"status": {"conditions": [condition]}})
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
