//! The API server double, asked by the client that the agent has.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::AuthInfo;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, Config};
use serde_json::{Value, json};
use weft_tests::apiserver::{ApiServer, Bad, Faults, NODES, PODS};
use weft_tests::netns::Netns;
use weft_tests::site::Site;
use weft_tests::wait;

/// A server on the loopback of a namespace of its own.
struct World {
    server: ApiServer,
    netns: Netns,
    site: std::sync::Arc<Site>,
}

const LONG: Duration = Duration::from_secs(10);

impl World {
    fn new() -> Result<Self> {
        let site = Site::of_tests()?;
        let netns = Netns::with_loopback(&site.unique("api"))?;
        let server = ApiServer::start(&netns, ([127, 0, 0, 1], 6443).into())?;
        server.put_all((1..=5).map(|number| node(&format!("n{number}"))))?;
        Ok(Self { server, netns, site })
    }

    fn dir(&self) -> std::path::PathBuf {
        self.site.dir().join(self.netns.name())
    }

    /// Runs a job of a client within the namespace.
    fn ask<T: Send, F: Future<Output = Result<T>>>(&self, job: impl FnOnce(Client) -> F + Send) -> Result<T> {
        let (dir, url) = (self.dir(), self.server.url());
        std::fs::create_dir_all(&dir)?;
        self.server.write_service_account(&dir)?;
        self.netns.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let job = job(client(&dir, &url)?);
                tokio::time::timeout(LONG, job).await.context("no end")?
            })
        })?
    }
}

fn client(dir: &Path, url: &str) -> Result<Client> {
    let mut config = Config::new(url.parse()?);
    let authority = std::fs::read(dir.join("ca.crt"))?;
    config.root_cert = Some(vec![pem(&authority)?]);
    config.auth_info =
        AuthInfo { token: Some(std::fs::read_to_string(dir.join("token"))?.into()), ..AuthInfo::default() };
    Ok(Client::try_from(config)?)
}

fn pem(text: &[u8]) -> Result<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    Ok(CertificateDer::from_pem_slice(text)?.to_vec())
}

fn node(name: &str) -> Value {
    json!({
        "kind": "Node", "apiVersion": "v1", "metadata": { "name": name, "labels": { "zone": "a" } },
        "spec": { "podCIDR": "10.244.1.0/24", "taints": [{ "key": "old", "effect": "NoSchedule" }] },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": { "namespace": "shop", "name": name },
        "spec": { "nodeName": node, "containers": [] },
    })
}

/// The code of the server's refusal.
fn code<T>(answer: kube::Result<T>) -> Result<u16> {
    match answer {
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("an error was due"),
    }
}

#[test]
fn lists_come_in_pages_and_by_selectors() -> Result<()> {
    let world = World::new()?;
    world.server.put_all([pod("web", "n1"), pod("db", "n2")])?;
    world.ask(async |client| {
        let nodes: Api<Node> = Api::all(client.clone());
        let first = nodes.list(&ListParams::default().limit(2)).await?;
        let next = first.metadata.continue_.context("a second page")?;
        let second = nodes.list(&ListParams::default().limit(9).continue_token(&next)).await?;
        ensure!((first.items.len(), second.items.len()) == (2, 3) && second.metadata.continue_.is_none());
        let mine = ListParams::default().fields("spec.nodeName=n1");
        let pods = Api::<Pod>::all(client).list(&mine).await?;
        ensure!(pods.items.len() == 1 && pods.items[0].metadata.name.as_deref() == Some("web"));
        ensure!(nodes.list(&ListParams::default().labels("zone=b")).await?.items.is_empty());
        Ok(())
    })
}

#[test]
fn a_watcher_sees_what_comes_changes_and_goes_in_both_ways_of_starting() -> Result<()> {
    let world = World::new()?;
    world.server.bookmark_every(Duration::from_millis(50));
    for strategy in [InitialListStrategy::ListWatch, InitialListStrategy::StreamingList] {
        let server = &world.server;
        world.ask(async move |client| {
            let config = watcher::Config { initial_list_strategy: strategy, ..watcher::Config::default() };
            let mut events = pin!(watcher(Api::<Node>::all(client), config));
            let mut first = 0;
            loop {
                match events.try_next().await?.context("an event")? {
                    Event::InitApply(_) => first += 1,
                    Event::InitDone => break,
                    _ => {}
                }
            }
            ensure!(first == 5, "{first} nodes at the start");
            server.put(node("n6"))?;
            let Some(Event::Apply(new)) = events.try_next().await? else { bail!("a new node") };
            ensure!(new.metadata.name.as_deref() == Some("n6"));
            server.remove(NODES, "", "n6")?;
            let Some(Event::Delete(_)) = events.try_next().await? else { bail!("a node that goes") };
            // The watcher starts over by itself.
            server.expire_streams();
            ensure!(events.try_next().await.is_err(), "410 in the stream");
            loop {
                if let Some(Event::InitDone) = events.try_next().await? {
                    return Ok(());
                }
            }
        })?;
    }
    Ok(())
}

#[test]
fn streams_have_bookmarks_an_end_and_objects_that_leave_the_selection() -> Result<()> {
    let world = World::new()?;
    world.server.bookmark_every(Duration::from_millis(20));
    world.server.put(pod("web", "n1"))?;
    world.ask(async |client| {
        let pods: Api<Pod> = Api::all(client);
        let params = WatchParams::default().fields("spec.nodeName=n1").timeout(1);
        let mut events = pin!(pods.watch(&params, "0").await?);
        let Some(WatchEvent::Added(_)) = events.try_next().await? else { bail!("the pod there is") };
        world.server.edit(PODS, "shop", "web", |pod| pod["spec"]["nodeName"] = "n2".into())?;
        let mut seen = Vec::new();
        while let Some(event) = events.try_next().await? {
            seen.push(match event {
                WatchEvent::Deleted(_) => "gone",
                WatchEvent::Bookmark(_) => "bookmark",
                _ => "other",
            });
        }
        ensure!(seen.contains(&"gone") && seen.contains(&"bookmark") && !seen.contains(&"other"), "{seen:?}");
        Ok(())
    })?;
    wait::until("the stream is closed", LONG, || Ok(world.server.streams() == 0)).map(drop)
}

#[test]
fn patches_change_what_they_name() -> Result<()> {
    let world = World::new()?;
    world.ask(async |client| {
        let nodes: Api<Node> = Api::all(client);
        let params = PatchParams::apply("weft");
        let condition = json!({ "type": "NetworkUnavailable", "status": "False", "reason": "WeftIsUp" });
        let status = json!({ "status": { "conditions": [condition] } });
        let patched = nodes.patch_status("n1", &PatchParams::default(), &Patch::Strategic(&status)).await?;
        ensure!(patched.status.and_then(|status| status.conditions).is_some_and(|all| all.len() == 2));
        let applied = json!({ "kind": "Node", "apiVersion": "v1", "status": { "conditions": [condition] } });
        let patched = nodes.patch_status("n2", &params, &Patch::Apply(&applied)).await?;
        ensure!(patched.status.and_then(|status| status.conditions).is_some_and(|all| all.len() == 2));
        let taints: Patch<Value> = Patch::Json(serde_json::from_value(json!([
            { "op": "test", "path": "/spec/taints/0/key", "value": "old" }, { "op": "remove", "path": "/spec/taints/0" }
        ]))?);
        let patched = nodes.patch("n1", &PatchParams::default(), &taints).await?;
        ensure!(patched.spec.and_then(|spec| spec.taints).is_some_and(|taints| taints.is_empty()));
        ensure!(code(nodes.patch("n1", &PatchParams::default(), &taints).await)? == 422, "the test fails now");
        let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "unschedulable": true } });
        ensure!(code(nodes.patch("n1", &PatchParams::default(), &Patch::Merge(&stale)).await)? == 409);
        Ok(())
    })?;
    let node = world.server.get(NODES, "", "n1").context("n1")?;
    ensure!(node["status"]["conditions"][0]["type"] == "Ready", "a patch of the object keeps its status: {node}");
    Ok(())
}

#[test]
fn tokens_authorities_and_faults_are_what_the_test_says() -> Result<()> {
    let world = World::new()?;
    let get = || world.ask(async |client| Ok(Api::<Node>::all(client).get("n1").await));
    ensure!(get()?.is_ok());
    world.server.replace_authority()?;
    ensure!(get()?.is_ok(), "with the new authority's certificate");
    let stale = world.ask(async |client| {
        world.server.replace_token();
        Ok(Api::<Node>::all(client).get("n1").await)
    })?;
    ensure!(code(stale)? == 401);
    let answers = [(Bad::Forbidden, 403), (Bad::Gone, 410), (Bad::Broken, 500)];
    for (bad, due) in answers {
        world.server.misbehave(Faults { bad: Some(bad), ..Faults::default() });
        let answer = get()?;
        ensure!(code(answer)? == due, "{bad:?}");
    }
    for bad in [Bad::Garbage, Bad::Truncated, Bad::HangUp] {
        world.server.misbehave(Faults { bad: Some(bad), ..Faults::default() });
        ensure!(matches!(get()?, Err(error) if !matches!(error, kube::Error::Api(_))), "{bad:?}");
    }
    world.server.misbehave(Faults::default());
    world.server.grant(world.server.asked().into_keys().filter(|ask| ask.verb != "get").collect());
    ensure!(code(get()?)? == 403, "what is not granted");
    world.server.stop();
    ensure!(matches!(get()?, Err(kube::Error::HyperError(_) | kube::Error::Service(_))), "nobody listens");
    world.server.resume()?;
    ensure!(code(get()?)? == 403);
    Ok(())
}
