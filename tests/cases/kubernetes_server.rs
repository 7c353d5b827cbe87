//! The API server on better and worse days: versions that are gone, bookmarks, pages, tokens, authorities, roles.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::apiserver::NODES;
use weft_tests::cluster::{self, AGAIN, Cluster, SOON, knows, peers, problems, put_stranger, service, status};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::node::Attach;
use weft_tests::site::Site;
use weft_tests::{need, wait};

/// Two nodes.
fn two() -> Layout {
    Layout::new(Routing::Overlay, Attach::preferred()).nodes(2)
}

#[test]
fn what_is_gone_from_the_servers_memory_is_listed_anew() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let first = cluster.member(1);
    put_stranger(cluster.server(), "old", "10.244.77.0/24")?;
    wait::until("it is known", SOON, || knows(first, "old"))?;
    // While nobody follows, one goes and one comes, and the server forgets both.
    cluster.server().stop();
    cluster.server().remove(NODES, "", "old")?;
    put_stranger(cluster.server(), "new", "10.244.78.0/24")?;
    cluster.server().forget();
    cluster.server().resume()?;
    wait::until("410 leads to a list", AGAIN, || Ok(knows(first, "new")? && !knows(first, "old")?))?;
    // In the middle of a stream.
    put_stranger(cluster.server(), "newer", "10.244.79.0/24")?;
    cluster.server().expire_streams();
    put_stranger(cluster.server(), "newest", "10.244.80.0/24")?;
    wait::until("and 410 in a stream too", SOON, || Ok(knows(first, "newer")? && knows(first, "newest")?))?;
    wait::until("all is well", SOON, || Ok(problems(first)?.is_empty())).map(drop)
}

#[test]
fn bookmarks_spare_lists() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let server = cluster.server();
    server.bookmark_every(Duration::from_millis(100));
    cluster.start_agents()?;
    for number in 0..20 {
        server.put(service("shop", &format!("web-{number}"), &[&format!("10.96.0.{}", number + 10)]))?;
    }
    // Ten bookmarks: the last version is in one of them, however busy the machine is.
    thread::sleep(Duration::from_secs(1));
    let before = server.log().len();
    server.forget();
    server.drop_connections();
    put_stranger(server, "new", "10.244.78.0/24")?;
    wait::until("what comes then is known", SOON, || knows(cluster.member(1), "new"))?;
    let since = || server.log().split_off(before);
    let streams = || since().iter().filter(|line| line.contains("watch=")).count();
    wait::until("all streams are back", SOON, || Ok(streams() >= 6))?;
    let since = since();
    let lists: Vec<_> = since.iter().filter(|line| line.starts_with("GET") && !line.contains("watch=")).collect();
    ensure!(lists.is_empty(), "a version that a bookmark told is as good as a list: {since:#?}");
    Ok(())
}

#[test]
fn lists_of_large_clusters_come_in_pages() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let count = 600_u16;
    cluster.server().put_all((0..count).map(cluster::large_node))?;
    let first = cluster.member(1);
    first.node().start_agent()?;
    wait::until("all are known", wait::patience(Duration::from_secs(20)), || {
        Ok(peers(first)?.len() == usize::from(count) + 1)
    })?;
    let log = cluster.server().log();
    let lists: Vec<_> = log.iter().filter(|line| line.contains("/nodes?") && !line.contains("watch=")).collect();
    ensure!(lists.iter().any(|line| line.contains("continue=")), "{lists:#?}");
    let pods: Vec<_> = log.iter().filter(|line| line.contains("/pods?")).collect();
    ensure!(pods.iter().all(|line| line.contains("spec.nodeName%3Dn1")), "only this node's pods: {pods:#?}");
    Ok(())
}

#[test]
fn a_new_token_and_a_new_authority_are_taken_up() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let well = || Ok(status(first)?["connected"] == true && problems(first)?.is_empty());
    let said = || format!("{:?}\n{}\n{:#?}", problems(first), first.node().agent_log(), server.log());
    server.replace_token();
    server.drop_connections();
    wait::until("the refused token is told", SOON, || Ok(problems(first)?.iter().any(|one| one.contains("401"))))
        .with_context(|| format!("{:?}", problems(first)))?;
    cluster.hand_out_account()?;
    put_stranger(server, "a", "10.244.77.0/24")?;
    wait::until("the new token is read", AGAIN, || knows(first, "a"))?;
    // Each watch comes back in its own time.
    wait::until("all is well", AGAIN, well).with_context(said)?;

    server.replace_authority()?;
    server.drop_connections();
    wait::until("the unknown authority is told", SOON, || Ok(!problems(first)?.is_empty()))?;
    cluster.hand_out_account()?;
    put_stranger(server, "b", "10.244.78.0/24")?;
    wait::until("the new authority is trusted", AGAIN, || knows(first, "b")).with_context(said)?;
    wait::until("all is well", AGAIN, well).with_context(said)?;

    // Ahead of the old one's end, as kubelets do it: it is never refused. That connections broke may be told.
    let log = first.node().agent_log().len();
    server.replace_token();
    cluster.hand_out_account()?;
    server.drop_connections();
    put_stranger(server, "c", "10.244.79.0/24")?;
    wait::until("the new token is used", SOON, || knows(first, "c"))?;
    let said = first.node().agent_log().split_off(log);
    ensure!(!said.contains("401"), "{said}");
    Ok(())
}

#[test]
fn the_server_is_where_the_kubelet_says() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let node = cluster.member(1).node();
    let mut command = node.bare_agent_command()?;
    let flags = node.settings().flags().into_iter().filter(|flag| !flag.starts_with("--api-server"));
    command.args(flags).args(node.dir_flags());
    command.env("KUBERNETES_SERVICE_HOST", "192.0.2.1").env("KUBERNETES_SERVICE_PORT", "6443");
    node.start_agent_as(&mut command)?;
    ensure!(status(cluster.member(1))?["apiServer"] == "https://192.0.2.1:6443/", "{:?}", status(cluster.member(1)));
    wait::until("all is well", SOON, || Ok(status(cluster.member(1))?["connected"] == true)).map(drop)
}

#[test]
fn only_what_is_granted_is_asked_for_and_all_of_it() -> Result<()> {
    let path = need::workspace().join("deploy/rbac.yaml");
    let granted = cluster::granted(&std::fs::read_to_string(&path)?)?;
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    cluster.server().grant(granted.clone());
    cluster.start_agents()?;
    let first = cluster.member(1);
    wait::until("the taint is taken off", SOON, || {
        Ok(!cluster.stored(first)?["spec"].to_string().contains("weft.dev"))
    })?;
    wait::until("all is well", SOON, || Ok(status(first)?["connected"] == true && problems(first)?.is_empty()))?;
    // The way out asks as well.
    first.node().stop_agent(Signal::SIGTERM)?;
    let mut flags: Vec<String> = cluster::joined(first)?.flags();
    flags.push("--node-name=n1".into());
    let flags: Vec<&str> = ["cleanup"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let output = first.node().run_agent(&flags)?;
    ensure!(output.status.success(), "{}", output.complaint());
    let asked = cluster.server().asked();
    let more: Vec<_> = asked.keys().filter(|ask| !granted.contains(ask)).collect();
    ensure!(more.is_empty(), "asked for without a grant: {more:?}");
    let less: Vec<_> = granted.iter().filter(|ask| !asked.contains_key(ask)).collect();
    ensure!(less.is_empty(), "granted and not used: {less:?}");
    Ok(())
}
