//! The namespace of a run, the servers that are there all the time, and how the others are asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use weft_agent::connectivity::{Agent, AgentState, Answer, Question, Told};

use super::check::{Asking, Check};
use super::cluster::{Cluster, Place};
use super::manifest::{OURS, PORT, PodPlan, RUN_DIR, ServicePlan};
use super::pods::{Pods, addresses};
use super::service::{self, Made};
use super::{Options, until};

/// How long clients may take to ask.
const ASKING: Duration = Duration::from_secs(60);

/// How long the namespace may take to go.
const REMOVAL: Duration = Duration::from_secs(120);

/// How long its making and removal are tried again while the API server does not answer.
const API: Duration = Duration::from_secs(30);

/// Label of a namespace that says which run made it.
const RUN: &str = "weft.dev/e2e-run";

/// A server and where it is.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Number of its node.
    pub(super) at: usize,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
}

/// Servers that are there all the time.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// In pods: two on the first node, one on the second if there is one.
    pub(super) pods: Vec<Server>,
    /// In the network of each node.
    pub(super) hosts: Vec<Server>,
}

impl Cast {
    /// The pod's server on that node.
    pub(super) fn on(&self, at: usize) -> &Server {
        self.pods.iter().find(|server| server.at == at).unwrap_or(&self.pods[0])
    }

    /// The second one of the first node.
    pub(super) fn neighbour(&self) -> &Server {
        &self.pods[1]
    }
}

/// A cluster and the namespace that is ours.
pub(super) struct Stage {
    cluster: Cluster,
    namespace: String,
    /// Label of what is this run's.
    run: String,
    pods: Pods,
    /// For names.
    next: AtomicU32,
    /// Port of hosts' servers; the next one up is hostPort's.
    port: u16,
    pub(super) world: Option<std::net::SocketAddr>,
}

impl Stage {
    pub(super) fn new(cluster: Cluster, options: &Options) -> Result<Self> {
        let since = SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?;
        let seed = since.as_secs().wrapping_mul(31).wrapping_add(u64::from(process::id()));
        let namespace = options.namespace.clone().unwrap_or_else(|| format!("weft-e2e-{:05x}", seed & 0xf_ffff));
        let pods = Pods::new(&cluster.client, &namespace, &cluster.image);
        // Below what NodePorts and outgoing connections usually take, and even.
        let port = 21_000 + u16::try_from(seed % 4000)? * 2;
        let run = format!("{seed:x}");
        Ok(Self { cluster, namespace, run, pods, next: AtomicU32::new(0), port, world: options.world })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn pods(&self) -> &Pods {
        &self.pods
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.cluster.places
    }

    pub(super) fn host_port(&self) -> u16 {
        self.port + 1
    }

    pub(super) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes the namespace and the servers.
    pub(super) async fn begin(&self) -> Result<Cast> {
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        let levels =
            ["enforce", "audit", "warn"].map(|mode| (format!("pod-security.kubernetes.io/{mode}"), "privileged"));
        let mut labels = BTreeMap::from(levels);
        labels.extend(OURS.split_once('=').map(|(key, value)| (key.to_owned(), value)));
        labels.insert(RUN.to_owned(), &self.run);
        let namespace = json!({ "metadata": { "name": self.namespace, "labels": labels } });
        let namespace = serde_json::from_value(namespace).context("make a namespace")?;
        let made = api.create(&PostParams::default(), &namespace).await;
        made.with_context(|| format!("create namespace {}", self.namespace))?;
        self.copy_secrets().await?;
        let mut pods = vec![("a1", 0), ("a2", 0)];
        let mut hosts = vec![("host-a", 0)];
        if self.places().len() > 1 {
            pods.push(("b1", 1));
            hosts.push(("host-b", 1));
        }
        let pods = try_join_all(pods.into_iter().map(|(name, at)| self.server(name, at, false)));
        let hosts = try_join_all(hosts.into_iter().map(|(name, at)| self.server(name, at, true)));
        let (pods, hosts) = futures::future::try_join(pods, hosts).await?;
        Ok(Cast { pods, hosts })
    }

    /// Those by which weft's image is pulled, which only pods of their own namespace may use.
    async fn copy_secrets(&self) -> Result<()> {
        let Some(weft) = &self.cluster.weft else { return Ok(()) };
        let from: Api<Secret> = Api::namespaced(self.cluster.client.clone(), &weft.namespace);
        let to: Api<Secret> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        for name in &weft.pull_secrets {
            // One that is not there is none that weft needs.
            let Some(secret) = from.get_opt(name).await.with_context(|| format!("get secret {name}"))? else {
                continue;
            };
            let mut copy = Secret { data: secret.data, type_: secret.type_, ..Secret::default() };
            copy.metadata.name = Some(name.clone());
            to.create(&PostParams::default(), &copy).await.with_context(|| format!("create secret {name}"))?;
        }
        Ok(())
    }

    async fn server(&self, name: &'static str, at: usize, host: bool) -> Result<Server> {
        let port = if host { self.port } else { PORT };
        let mut plan = PodPlan { host, serve: Some(port), ..PodPlan::server(name, &self.places()[at]) };
        if !host && name != "a2" {
            plan.labels.insert("group".to_owned(), "web".to_owned());
        }
        self.pods.create(&plan).await?;
        let pod = self.pods.ready(name).await?;
        Ok(Server { name, at, addresses: addresses(&pod)?, port })
    }

    /// Removes all that was made, and waits until it is gone.
    pub(super) async fn remove(&self) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.cluster.client.clone());
        let what = format!("namespace {} goes", self.namespace);
        let found =
            until(&what, API, async || Ok(Ok(api.get_opt(&self.namespace).await.context("get our namespace")?)));
        let Some(found) = found.await? else { return Ok(()) };
        // A name that was given may have been somebody else's: what we did not make is not ours to remove.
        if found.labels().get(RUN) != Some(&self.run) {
            return Ok(());
        }
        let only = Preconditions { uid: found.uid(), resource_version: None };
        let only = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        until(&what, API, async || match api.delete(&self.namespace, &only).await {
            Ok(_) => Ok(Ok(())),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Ok(())),
            Err(error) => Ok(Err(error.to_string())),
        })
        .await?;
        until(&what, REMOVAL, async || {
            Ok(match api.get_opt(&self.namespace).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(format!("it is still there: kubectl get all -n {}", self.namespace)),
                Err(error) => Err(error.to_string()),
            })
        })
        .await
    }

    pub(super) async fn service(&self, plan: &ServicePlan<'_>) -> Result<Made> {
        service::make(&self.cluster.client, &self.namespace, plan).await
    }

    /// Runs a client to its end.
    pub(super) async fn tell(&self, plan: &PodPlan, patience: Duration) -> Result<Told> {
        ensure!(!plan.ask.is_empty(), "there is nothing that a pod on {} could ask", plan.node);
        self.pods.create(plan).await?;
        let told = self.pods.told(&plan.name, patience).await?;
        ensure!(told.answers.len() == plan.ask.len(), "pod {} told {told:?}", plan.name);
        Ok(told)
    }

    /// Lets them all ask at once; how many answers were right, or all that were wrong.
    pub(super) async fn ask(&self, asking: Vec<Asking>) -> Result<usize> {
        let told = join_all(asking.iter().map(async |one| {
            let place = &self.places()[one.at];
            let questions = one.checks.iter().map(|check| check.question.clone()).collect();
            let name = self.name(if one.host { "host-ask" } else { "ask" });
            let told = self.tell(&PodPlan { host: one.host, ..PodPlan::client(&name, place, questions) }, ASKING).await;
            (one, place, told)
        }))
        .await;
        let (mut right, mut wrong) = (0, Vec::new());
        for (one, place, told) in told {
            let told = match told {
                Ok(told) => told,
                Err(error) => {
                    wrong.push(format!("{error:#}"));
                    continue;
                }
            };
            for (check, answer) in one.checks.iter().zip(&told.answers) {
                let who = if one.host { "node" } else { "pod on" };
                match check.verify(answer, &told, &place.addresses) {
                    Ok(()) => right += 1,
                    Err(why) => wrong.push(format!("{who} {} -> {}: {why}", place.name, check.what)),
                }
            }
        }
        ensure!(wrong.is_empty(), "{} of {} answers: {}", wrong.len(), wrong.len() + right, wrong.join("; "));
        Ok(right)
    }

    /// Lets one pod ask, and removes it.
    pub(super) async fn hold(&self, plan: &PodPlan, checks: &[Check]) -> Result<usize> {
        let told = self.tell(plan, ASKING).await?;
        for (check, answer) in checks.iter().zip(&told.answers) {
            if let Err(why) = check.verify(answer, &told, &[]) {
                bail!("pod {} -> {}: {why}", plan.name, check.what);
            }
        }
        Ok(checks.len())
    }

    /// The one answer of a pod of that node to one question.
    pub(super) async fn answer(&self, at: usize, host: bool, question: Question) -> Result<Answer> {
        let plan = PodPlan::client(&self.name("ask"), &self.places()[at], vec![question]);
        let mut told = self.tell(&PodPlan { host, ..plan }, ASKING).await?;
        told.answers.pop().context("no answer")
    }

    /// What the agent of a node says of itself; nothing where weft does not run, or its socket is not to be found.
    pub(super) async fn agent(&self, at: usize) -> Result<Option<AgentState>> {
        let Some(run_dir) = self.cluster.weft.as_ref().and_then(|weft| weft.run_dir.clone()) else { return Ok(None) };
        let question = Question::Agent(Agent { run_dir: RUN_DIR.to_owned() });
        let plan = PodPlan::client(&self.name("agent"), &self.places()[at], vec![question]);
        let told = self.tell(&PodPlan { host: true, run_dir: Some(run_dir), ..plan }, ASKING).await?;
        match told.answers.first() {
            Some(Answer::Agent(state)) => Ok(Some(state.clone())),
            other => bail!("the agent of {} does not tell: {other:?}", self.places()[at].name),
        }
    }
}
