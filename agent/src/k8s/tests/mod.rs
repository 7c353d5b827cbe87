//! The watching against a server that slips, lies and vanishes.

mod account;
mod reports;
mod server;
mod streams;
mod trust;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::config::KubernetesConfig;

use super::*;
use server::Server;

const NODES: &str = "/api/v1/nodes";

/// Runs a test as the agent runs.
fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(Duration::from_secs(60), test).await.unwrap() });
}

/// Begins to watch as node n1.
fn watch_as_n1(server: &Server, service_account: Option<&Path>) -> Watching {
    watch_with(server, service_account, Vec::new(), OwnNode::default())
}

fn watch_with(server: &Server, account: Option<&Path>, pod_cidrs: Vec<IpNet>, cached: OwnNode) -> Watching {
    let scheme = if account.is_some() { "https" } else { "http" };
    let api_server = format!("{scheme}://{}", server.address).parse().unwrap();
    let service_account = account.unwrap_or(Path::new("/nowhere")).to_owned();
    let config = KubernetesConfig { api_server, service_account };
    let mut watching = start(Start { config, node_name: "n1".to_owned(), pod_cidrs, cached });
    let task = std::mem::replace(&mut watching.task, std::future::pending().boxed_local());
    spawn_local(task);
    watching
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

fn peer_names(watching: &Watching) -> Option<Vec<String>> {
    let listing = watching.peers.borrow();
    Some(listing.known.as_ref()?.peers.iter().map(|peer| peer.name.to_string()).collect())
}

async fn until_peers(watching: &Watching, names: &[&str]) {
    until(&format!("peers are {names:?}"), || peer_names(watching).is_some_and(|peers| peers == names)).await;
}
