//! What is left of weft after `weft-agent cleanup`, run as `deploy/cleanup` runs it: nothing, on the node and in the cluster.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::apiserver::NODES;
use weft_tests::cluster::{Cluster, SOON, conflist, granted, joined};
use weft_tests::exec::Output;
use weft_tests::fabric::{Layout, Member, Routing};
use weft_tests::node::{Attach, Family, bounded};
use weft_tests::site::Site;
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, manifest, need, wait};

fn cluster(nodes: u8, attach: Attach) -> Result<Cluster> {
    Cluster::lay(&Site::of_tests()?, Layout::new(Routing::Overlay, attach).nodes(nodes))
}

/// What somebody who looks for traces finds on a node, a line each. The kernel's own routes come and go with forwarding.
fn found(member: &Member) -> Result<BTreeSet<String>> {
    let netns = member.node().netns();
    let mut found = BTreeSet::new();
    for link in kernel::ip(netns, "addr show")? {
        found.insert(format!("device {}", link["ifname"]));
        let addresses = link["addr_info"].as_array().into_iter().flatten();
        found.extend(addresses.map(|one| format!("address {} of {}", one["local"], link["ifname"])));
    }
    for words in ["-4 route show table all", "-6 route show table all"] {
        let routes = kernel::ip(netns, words)?;
        found.extend(routes.iter().filter(|route| route["protocol"] != "kernel").map(|route| format!("route {route}")));
    }
    found.extend(exec::tool_in(netns, "tc", &["qdisc", "show"])?.lines().map(str::to_owned));
    let cgroup = netns.cgroup().context("no cgroup")?.path().display().to_string();
    for words in [vec!["-j", "net", "show"], vec!["-j", "cgroup", "show", &cgroup]] {
        let text = exec::tool_in(netns, "bpftool", &words)?;
        found.extend(programs(&text).with_context(|| format!("bpftool {}: {text}", words.join(" ")))?);
    }
    Ok(found)
}

/// Names of the programs that bpftool lists, wherever they are attached.
fn programs(text: &str) -> Result<BTreeSet<String>> {
    if text.trim().is_empty() {
        return Ok(BTreeSet::new());
    }
    let listed: Value = serde_json::from_str(text)?;
    let mut open = vec![&listed];
    let mut names = BTreeSet::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(fields) if fields.contains_key("name") => {
                names.insert(format!("program {}", fields["name"]));
            }
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    Ok(names)
}

/// Cleans a node with what `deploy/cleanup` grants, capabilities and verbs, and no more.
fn clean_up(cluster: &Cluster, member: &Member) -> Result<Output> {
    let deploy = need::workspace().join("deploy/cleanup");
    cluster.server().grant(granted(&fs::read_to_string(deploy.join("rbac.yaml"))?)?);
    let objects = manifest::parse(&fs::read_to_string(deploy.join("daemonset.yaml"))?)?;
    let container =
        &manifest::object(&objects, "DaemonSet", "weft-cleanup")?["spec"]["template"]["spec"]["containers"][0];
    let capabilities = container["securityContext"]["capabilities"]["add"].as_array().context("no capabilities")?;
    let names: Vec<_> = capabilities.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    let node = member.node();
    let mut command = bounded(&need::binary("weft-agent")?, &names)?;
    command.env_clear().current_dir("/").arg("cleanup").args(node.dir_flags()).args(joined(member)?.flags());
    command.arg(format!("--node-name={}", node.settings().node_name));
    node.netns().enter(|| exec::output(&mut command, &[]))?
}

/// Types of the conditions that a node's object has.
fn conditions(cluster: &Cluster, member: &Member) -> Result<Vec<String>> {
    let node = cluster.stored(member)?;
    let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
    Ok(conditions.iter().filter_map(|one| one["type"].as_str()).map(str::to_owned).collect())
}

/// Waits until the network is announced to the cluster, and installed for the runtime.
fn announced(cluster: &Cluster, member: &Member) -> Result<()> {
    let up = || {
        let node = cluster.stored(member)?;
        Ok(node["status"]["conditions"].as_array().into_iter().flatten().any(|one| one["reason"] == "WeftIsUp"))
    };
    wait::until("the network is announced", SOON, up)?;
    wait::until("the network is installed", SOON, || Ok(conflist(member).is_ok())).map(drop)
}

fn nothing_is_left(attach: Attach) -> Result<()> {
    let cluster = cluster(2, attach)?;
    let members = [cluster.member(1), cluster.member(2)];
    let before = [found(members[0])?, found(members[1])?];
    cluster.start_agents()?;
    let pods = [cluster.pod(members[0], "shop", "web")?, cluster.pod(members[1], "shop", "db")?];
    for family in Family::BOTH {
        ping::must_reach(pods[0].netns(), pods[1].address(family)?)?;
    }
    let limited = members[0].node().weft(&["endpoint", "set-rate", "shop/web", "--egress", "20M"])?;
    ensure!(limited.status.success(), "{}", limited.complaint());
    for member in members {
        announced(&cluster, member)?;
        member.node().stop_agent(Signal::SIGTERM)?;
    }
    let after = [found(members[0])?, found(members[1])?];
    ensure!(after[0].len() > before[0].len() + 5, "what an agent leaves is not seen: {:?}", after[0]);

    let role = granted(&fs::read_to_string(need::workspace().join("deploy/cleanup/rbac.yaml"))?)?;
    for (member, before) in members.into_iter().zip(&before) {
        // As those have it who unpacked the plugins there.
        chown(&joined(member)?.bin_dir, Some(1001), Some(1001))?;
        let asked = cluster.server().asked();
        let cleaned = clean_up(&cluster, member)?;
        ensure!(cleaned.status.success(), "{}", cleaned.complaint());
        let now = cluster.server().asked();
        let unused: Vec<_> = role.iter().filter(|ask| now.get(*ask) == asked.get(*ask)).collect();
        ensure!(unused.is_empty(), "granted and not used: {unused:?}");
        let left: Vec<_> = found(member)?.difference(before).cloned().collect();
        ensure!(left.is_empty(), "left: {left:#?}");
        let (node, joined) = (member.node(), joined(member)?);
        for directory in [&joined.bin_dir, &joined.conf_dir] {
            ensure!(fs::read_dir(directory)?.next().is_none(), "{} is not empty", directory.display());
        }
        ensure!(!node.run_dir().exists() && !node.bpf_dir().exists(), "directories are left");
        assert_eq!(conditions(&cluster, member)?, ["Ready"], "of the node's object");
        let taints = cluster.stored(member)?["spec"]["taints"].clone();
        assert_eq!(taints.as_array().map(Vec::len), Some(1), "{taints}");
    }
    let again = clean_up(&cluster, members[0])?;
    ensure!(again.status.success() && again.text().is_empty(), "a second time: {}", again.complaint());
    drop(pods);

    // And it can be installed once more.
    fs::create_dir(members[0].node().run_dir())?;
    cluster.server().grant(granted(&fs::read_to_string(need::workspace().join("deploy/rbac.yaml"))?)?);
    members[0].node().start_agent()?;
    announced(&cluster, members[0])?;
    let pod = cluster.pod(members[0], "shop", "again")?;
    ping::must_reach(pod.netns(), members[0].node().gateway(Family::V4)).map(drop)
}

weft_tests::on_both_attachments!(nothing_is_left);

#[test]
fn an_api_server_that_is_away_is_named_and_asked_again() -> Result<()> {
    let cluster = cluster(1, Attach::preferred())?;
    let member = cluster.member(1);
    let before = found(member)?;
    cluster.start_agents()?;
    announced(&cluster, member)?;
    member.node().stop_agent(Signal::SIGTERM)?;
    cluster.server().stop();
    let failed = clean_up(&cluster, member)?;
    ensure!(failed.status.code() == Some(1), "{}", failed.complaint());
    let complaint = failed.complaint();
    ensure!(complaint.contains("node n1 keeps the condition NetworkUnavailable"), "{complaint}");
    ensure!(found(member)?.is_subset(&before) && conflist(member).is_err(), "the node itself did not wait");
    cluster.server().resume()?;
    let cleaned = clean_up(&cluster, member)?;
    ensure!(cleaned.status.success(), "{}", cleaned.complaint());
    assert_eq!(conditions(&cluster, member)?, ["Ready"]);
    Ok(())
}

#[test]
fn what_somebody_else_says_of_the_network_stays() -> Result<()> {
    let cluster = cluster(1, Attach::preferred())?;
    let member = cluster.member(1);
    cluster.start_agents()?;
    announced(&cluster, member)?;
    member.node().stop_agent(Signal::SIGTERM)?;
    cluster.server().edit(NODES, "", "n1", |node| {
        for condition in node["status"]["conditions"].as_array_mut().into_iter().flatten() {
            if condition["type"] == "NetworkUnavailable" {
                condition["reason"] = json!("RouteCreated");
            }
        }
    })?;
    let cleaned = clean_up(&cluster, member)?;
    ensure!(cleaned.status.success(), "{}", cleaned.complaint());
    assert_eq!(conditions(&cluster, member)?, ["NetworkUnavailable", "Ready"]);
    // A node that is gone by then has nothing to take back.
    cluster.server().remove(NODES, "", "n1")?;
    ensure!(clean_up(&cluster, member)?.status.success());
    Ok(())
}
