//! What the cluster and the runtime are told once the agent is ready, and that it stays told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::apiserver::NODES;
use weft_tests::cluster::{AGAIN, Cluster, SOON, TAINT, conflist, joined, launch, pod, problems, status};
use weft_tests::fabric::{Layout, Member, Routing};
use weft_tests::node::Attach;
use weft_tests::site::Site;
use weft_tests::wait;

fn one() -> Result<Cluster> {
    Cluster::lay(&Site::of_tests()?, Layout::new(Routing::Overlay, Attach::preferred()).nodes(1))
}

fn read(path: &PathBuf) -> Result<Value> {
    serde_json::from_slice(&fs::read(path)?).context("the network configuration is no JSON")
}

fn binary(member: &Member) -> Result<PathBuf> {
    Ok(joined(member)?.bin_dir.join("weft-cni"))
}

/// A condition of the node's object.
fn condition(cluster: &Cluster, kind: &str) -> Result<Value> {
    let node = cluster.stored(cluster.member(1))?;
    let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
    conditions.iter().find(|one| one["type"] == kind).cloned().with_context(|| format!("no condition {kind}"))
}

fn taints(cluster: &Cluster) -> Result<Vec<String>> {
    let node = cluster.stored(cluster.member(1))?;
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    Ok(taints.iter().filter_map(|taint| taint["key"].as_str()).map(str::to_owned).collect())
}

#[test]
fn the_network_is_announced_when_it_works_and_again_whenever_it_is_taken_away() -> Result<()> {
    let cluster = one()?;
    let member = cluster.member(1);
    cluster.server().stop();
    launch(member)?;
    wait::until("the plugin is there early", SOON, || Ok(binary(member)?.exists()))?;
    ensure!(conflist(member).is_err(), "announced before it can work");
    cluster.server().resume()?;
    wait::until("the network is announced", AGAIN, || Ok(conflist(member).is_ok()))?;
    let path = conflist(member)?;
    let told = read(&path)?;
    ensure!(told["plugins"][0]["type"] == "weft-cni", "{told}");
    ensure!(told["plugins"][0]["agentSocket"] == json!(member.node().socket()), "{told}");
    ensure!(fs::metadata(binary(member)?)?.permissions().mode() & 0o777 == 0o755);
    wait::until("the status names it", SOON, || Ok(status(member)?["conflist"] == json!(path)))?;

    fs::remove_file(&path)?;
    wait::until("it comes back when removed", SOON, || Ok(path.exists()))?;
    fs::write(&path, "{}")?;
    wait::until("and when altered", SOON, || Ok(read(&path)? == told))?;
    fs::remove_file(binary(member)?)?;
    wait::until("the plugin too", SOON, || Ok(binary(member)?.exists()))?;

    member.node().stop_agent(Signal::SIGTERM)?;
    ensure!(read(&path)? == told, "it stays when the agent stops");
    member.node().start_agent()?;
    ensure!(read(&path)? == told);
    let left: Vec<_> = fs::read_dir(&joined(member)?.conf_dir)?.collect::<Result<_, _>>()?;
    ensure!(left.len() == 1, "{left:?}");
    Ok(())
}

#[test]
fn condition_and_taint_say_that_the_network_is_up_and_leave_the_others() -> Result<()> {
    let cluster = one()?;
    let server = cluster.server();
    let before = condition(&cluster, "Ready")?;
    cluster.start_agents()?;
    let up = || {
        let condition = condition(&cluster, "NetworkUnavailable")?;
        let said = condition["status"] == "False" && condition["reason"] == "WeftIsUp";
        Ok(said && taints(&cluster)? == ["example.com/dedicated"])
    };
    wait::until("condition and taint are right", SOON, up)
        .with_context(|| format!("{:?}", cluster.stored(cluster.member(1))))?;
    ensure!(condition(&cluster, "Ready")? == before, "a condition of the kubelet's was touched");

    // Somebody else puts them back, and has more to say.
    server.edit(NODES, "", "n1", |node| {
        node["status"]["conditions"][0]["status"] = "True".into();
        node["spec"]["taints"] = json!([
            { "key": "example.com/new", "effect": "NoExecute" }, { "key": TAINT, "effect": "NoSchedule" },
            { "key": "example.com/dedicated", "value": "test", "effect": "NoSchedule" },
            { "key": TAINT, "effect": "NoExecute" },
        ]);
    })?;
    wait::until("both are put right again", AGAIN, || {
        let keys = taints(&cluster)?;
        let condition = condition(&cluster, "NetworkUnavailable")?;
        Ok(condition["status"] == "False" && keys == ["example.com/new", "example.com/dedicated"])
    })
    .with_context(|| format!("{:?}", cluster.stored(cluster.member(1))))?;

    // What is right is left alone.
    let asked = server.log().len();
    std::thread::sleep(Duration::from_secs(1));
    let patches = server.log().split_off(asked).into_iter().filter(|line| line.starts_with("PATCH")).count();
    ensure!(patches == 0, "{patches} patches of what is right");
    Ok(())
}

#[test]
fn pods_of_another_plugin_are_left_alone_and_listed() -> Result<()> {
    let cluster = one()?;
    let member = cluster.member(1);
    let mut foreign = pod("kube-system", "dns", "n1");
    foreign["status"] = json!({ "phase": "Running", "podIP": "10.200.0.7", "podIPs": [{ "ip": "10.200.0.7" }] });
    let mut on_host = pod("kube-system", "proxy", "n1");
    on_host["spec"]["hostNetwork"] = true.into();
    on_host["status"] = json!({ "phase": "Running", "podIP": "192.0.2.11", "podIPs": [{ "ip": "192.0.2.11" }] });
    let mut over = pod("batch", "job", "n1");
    over["status"] = json!({ "phase": "Succeeded", "podIP": "10.200.0.8", "podIPs": [{ "ip": "10.200.0.8" }] });
    cluster.server().put_all([foreign, on_host, over])?;
    cluster.start_agents()?;
    let ours = cluster.pod(member, "shop", "web")?;
    cluster.server().edit(weft_tests::apiserver::PODS, "shop", "web", |pod| {
        let address = ours.result()["ips"][0]["address"].as_str().unwrap_or_default().split('/').next();
        pod["status"] = json!({ "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] });
    })?;
    wait::until("every pod is known", SOON, || Ok(status(member)?["pods"] == 4))
        .with_context(|| format!("{:?}", status(member)))?;
    let listed = || Ok(status(member)?["unmanaged"].as_array().cloned().unwrap_or_default());
    wait::until("one is listed", SOON, || listed().map(|list| list.len() == 1))
        .with_context(|| format!("{:?}", status(member)))?;
    ensure!(listed()?[0]["name"] == "dns" && listed()?[0]["namespace"] == "kube-system", "{:?}", listed()?);
    let text = member.node().weft(&["status"])?.text();
    ensure!(text.contains("kube-system/dns"), "{text}");
    ensure!(member.node().api("GET", "/v1/endpoints", None)?.json.as_array().map(Vec::len) == Some(1), "left alone");
    cluster.server().remove(weft_tests::apiserver::PODS, "kube-system", "dns")?;
    wait::until("it is forgotten", SOON, || Ok(status(member)?["unmanaged"].is_null())).map(drop)
}

#[test]
fn a_network_that_sorts_first_is_warned_about() -> Result<()> {
    let cluster = one()?;
    let member = cluster.member(1);
    let dir = &joined(member)?.conf_dir;
    fs::create_dir_all(dir)?;
    let other = dir.join("00-bridge.conflist");
    fs::write(&other, r#"{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"bridge"}]}"#)?;
    cluster.start_agents()?;
    wait::until("the network is announced all the same", SOON, || Ok(conflist(member).is_ok()))?;
    let named = || Ok(problems(member)?.iter().any(|one| one.contains("00-bridge.conflist")));
    wait::until("it is named", SOON, named).with_context(|| format!("{:?}", problems(member)))?;
    fs::remove_file(other)?;
    wait::until("all is well without it", SOON, || Ok(problems(member)?.is_empty())).map(drop)
}

#[test]
fn whatever_starts_first_it_comes_together() -> Result<()> {
    let cluster = one()?;
    let (server, member) = (cluster.server(), cluster.member(1));
    let object = cluster.stored(member)?;
    server.remove(NODES, "", "n1")?;
    server.stop();
    // Agent, server, node.
    launch(member)?;
    server.resume()?;
    std::thread::sleep(Duration::from_millis(300));
    server.put(object)?;
    wait::until("it comes together", AGAIN, || Ok(conflist(member).is_ok()))?;
    let _pod = cluster.pod(member, "shop", "web")?;
    // A reboot: `/run` and all interfaces are gone, the runtime's directories are not.
    member.node().stop_agent(Signal::SIGKILL)?;
    fs::remove_dir_all(member.node().run_dir())?;
    fs::create_dir(member.node().run_dir())?;
    member.node().start_agent()?;
    let again = cluster.pod(member, "shop", "db")?;
    weft_tests::traffic::ping::must_reach(member.node().netns(), again.address(weft_tests::node::Family::V4)?).map(drop)
}
