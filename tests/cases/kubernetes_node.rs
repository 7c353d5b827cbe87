//! This node in its cluster: its object, its ranges, its pods' annotations.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::apiserver::{NODES, PODS};
use weft_tests::cluster::{AGAIN, Cluster, SOON, TAINT, all_talk, conflist, launch, node, problems, status};
use weft_tests::fabric::{Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::pod::Pod;
use weft_tests::site::Site;
use weft_tests::traffic::flood::{self, Tcp};
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::{exec, kernel, wait};

/// Two nodes.
fn two() -> Layout {
    Layout::new(Routing::Overlay, Attach::preferred()).nodes(2)
}

#[test]
fn limits_follow_the_annotations_of_a_pod() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let pod = cluster.pod(first, "shop", "web")?;
    let set = |text: &str| {
        let annotations = match text {
            "" => json!({}),
            text => json!({ "kubernetes.io/egress-bandwidth": text }),
        };
        server.edit(PODS, "shop", "web", |pod| pod["metadata"]["annotations"] = annotations)
    };
    let limit = || -> Result<Value> {
        let list = first.weft(&["endpoint", "list"])?;
        let of = |one: &&Value| one["key"]["containerId"] == *pod.attachment().container_id;
        let found = list.as_array().into_iter().flatten().find(of).context("the endpoint")?;
        Ok(found["endpoint"]["bandwidth"]["egress"]["rate"].clone())
    };
    for (text, rate) in [("10M", json!(10_000_000)), ("20M", json!(20_000_000)), ("", Value::Null)] {
        set(text)?;
        wait::until("the limit is there", SOON, || Ok(limit()? == rate)).with_context(|| format!("{:?}", limit()))?;
    }
    set("fast")?;
    let named = || {
        let all = problems(first)?;
        Ok(all.iter().any(|one| one.contains("shop/web") && one.contains("egress-bandwidth") && one.contains("fast")))
    };
    wait::until("a value that is none is named", SOON, named).with_context(|| format!("{:?}", problems(first)))?;
    ensure!(limit()? == Value::Null);
    set("30M")?;
    wait::until("and put right", SOON, || Ok(limit()? == 30_000_000 && problems(first)?.is_empty()))
        .with_context(|| format!("{:?} {:?}", limit(), problems(first)))
        .map(drop)
}

#[test]
fn a_stream_that_runs_feels_an_annotation_that_changes() -> Result<()> {
    const LIMITS: [&str; 2] = ["ingress", "egress"];
    let cluster = Cluster::start(two())?;
    let (web, db) = (cluster.pod(cluster.member(1), "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?);
    let annotate = |text: Option<&str>| {
        let pairs =
            text.into_iter().flat_map(|text| LIMITS.map(|way| (format!("kubernetes.io/{way}-bandwidth"), text)));
        let annotations: serde_json::Map<String, Value> = pairs.map(|(key, text)| (key, text.into())).collect();
        cluster.server().edit(PODS, "shop", "web", |pod| pod["metadata"]["annotations"] = annotations.into())
    };
    let stream = Tcp { streams: 1, congestion: "cubic", time: Duration::from_secs(2) };
    let ways = [(&web, &db), (&db, &web)];
    for (text, most) in [(None, f64::MAX), (Some("20M"), 20e6), (Some("5M"), 5e6), (None, f64::MAX)] {
        annotate(text)?;
        // The ways warm up for longer than an annotation takes to arrive.
        for (from, to) in ways {
            let reached = flood::tcp(from.netns(), to.netns(), to.address(Family::V4)?, stream)?;
            let (mean, median) = (reached.mean, reached.median());
            let fits = if most < f64::MAX { mean < 1.02 * most && median >= 0.85 * most } else { mean > 80e6 };
            ensure!(fits, "{mean:.0} bit/s, median {median:.0}, with {text:?}");
        }
    }
    Ok(())
}

#[test]
fn an_annotation_counts_from_the_first_sight_of_a_pod() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let first = cluster.member(1);
    let _pod = cluster.pod(first, "shop", "web")?;
    first.node().stop_agent(Signal::SIGTERM)?;
    cluster.server().edit(PODS, "shop", "web", |pod| {
        pod["metadata"]["annotations"] = json!({ "kubernetes.io/ingress-bandwidth": "5M" });
    })?;
    first.node().start_agent()?;
    let limited = || Ok(first.weft(&["endpoint", "list"])?[0]["endpoint"]["bandwidth"]["ingress"]["rate"] == 5_000_000);
    wait::until("what changed while the agent was away counts", SOON, limited)
        .with_context(|| format!("{:?}", first.weft(&["endpoint", "list"])))
        .map(drop)
}

#[test]
fn a_node_without_ranges_says_what_to_set_and_goes_on_when_it_has_them() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let ranges = cluster.stored(first)?["spec"].clone();
    server.edit(NODES, "", "n1", |node| {
        node["spec"]["podCIDR"] = Value::Null;
        node["spec"]["podCIDRs"] = Value::Null;
    })?;
    launch(first)?;
    let says = |words: &[&str]| {
        let all = problems(first)?;
        Ok(all.iter().any(|one| words.iter().all(|word| one.contains(word))))
    };
    wait::until("the remedy is told", SOON, || says(&["n1", "podCIDR", "--allocate-node-cidrs", "pod-cidr"]))
        .with_context(|| format!("{:?}\n{}", problems(first), first.node().agent_log()))?;
    ensure!(first.node().api("GET", "/v1/status", None)?.json["ready"] == false);
    ensure!(conflist(first).is_err(), "a network that has no addresses is announced");
    let Err(refused) = cluster.run_pod(first, "shop", "web") else { bail!("an ADD without ranges") };
    let refused = format!("{refused:#}");
    ensure!(refused.contains("code 11"), "{refused}");
    ensure!(first.node().network().status(first.node().netns()).is_err(), "STATUS");
    let told = cluster.stored(first)?;
    ensure!(told["spec"]["taints"].to_string().contains(TAINT), "{told}");
    ensure!(told["status"]["conditions"][0]["status"] == "True", "{told}");
    let patches = server.log().into_iter().filter(|line| line.starts_with("PATCH")).count();
    ensure!(patches == 0, "{patches} patches by an agent that is not ready");

    server.edit(NODES, "", "n1", |node| {
        node["spec"]["podCIDR"] = ranges["podCIDR"].clone();
        node["spec"]["podCIDRs"] = ranges["podCIDRs"].clone();
    })?;
    first.node().wait_ready(SOON)?;
    wait::until("the network is announced", SOON, || Ok(conflist(first).is_ok()))?;
    wait::until("all is well", SOON, || Ok(problems(first)?.is_empty()))?;
    let pod = cluster.pod(first, "shop", "web")?;
    ping::must_reach(first.node().netns(), pod.address(Family::V4)?).map(drop)
}

#[test]
fn a_node_that_is_not_registered_says_so_and_starts_when_it_is() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let object = cluster.stored(first)?;
    server.remove(NODES, "", "n1")?;
    launch(first)?;
    wait::until("its name is told", SOON, || {
        Ok(problems(first)?.iter().any(|one| one.contains("n1") && one.contains("node-name")))
    })
    .with_context(|| format!("{:?}", problems(first)))?;
    server.put(object)?;
    first.node().wait_ready(SOON)?;
    wait::until("the network is announced", SOON, || Ok(conflist(first).is_ok())).map(drop)
}

#[test]
fn ranges_may_change_under_running_pods() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let mut pods = vec![cluster.pod(first, "shop", "old")?, cluster.pod(cluster.member(2), "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), first.gateway(Family::V4), Duration::from_millis(2))?;
    server.edit(NODES, "", "n1", |node| {
        node["spec"]["podCIDR"] = "10.244.101.0/24".into();
        node["spec"]["podCIDRs"] = json!(["10.244.101.0/24", "fd00:10:244:101::/64"]);
    })?;
    let moved = || {
        let status = first.node().api("GET", "/v1/status", None)?.json;
        let pools = status["pools"].as_array().cloned().unwrap_or_default();
        Ok(pools.iter().any(|pool| pool.to_string().contains("10.244.101.0/24")))
    };
    wait::until("the pools are the new ones", SOON, moved)?;
    let new = cluster.pod(first, "shop", "new")?;
    ensure!(new.address(Family::V4)?.to_string().starts_with("10.244.101."), "{}", new.result());
    for family in Family::BOTH {
        ping::must_reach(pods[0].netns(), new.address(family)?).context("old to new")?;
        wait::until("the other node knows the new range", SOON, || {
            ping::ping(pods[1].netns(), new.address(family)?, 1).map(|report| report.lost() == 0)
        })?;
    }
    pods.push(new);
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    let old = pods.remove(0);
    old.del(first.node())?;
    first.node().stop_agent(Signal::SIGTERM)?;
    first.node().start_agent()?;
    all_talk(&pods)
}

#[test]
fn an_agent_without_a_server_starts_and_waits() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    cluster.server().stop();
    let first = cluster.member(1);
    launch(first)?;
    thread::sleep(Duration::from_millis(500));
    ensure!(conflist(first).is_err(), "announced before the ranges are known");
    cluster.server().resume()?;
    first.node().wait_ready(AGAIN)?;
    wait::until("the network is announced", SOON, || Ok(conflist(first).is_ok())).map(drop)
}

#[test]
fn a_cluster_may_have_one_family() -> Result<()> {
    for family in Family::BOTH {
        let cluster = Cluster::lay(&Site::of_tests()?, two().underlay(family))?;
        let ours = |member: &Member| -> Result<String> {
            let cidrs = &member.node().settings().pod_cidrs;
            cidrs.iter().find(|cidr| cidr.contains(':') == (family == Family::V6)).cloned().context("a range")
        };
        for member in cluster.fabric().members() {
            let name = &member.node().settings().node_name;
            // An old object may have the one range in the older field alone.
            let mut object = node(name, &[ours(member)?], &[member.address(family)]);
            if member.number() == 2 {
                object["spec"]["podCIDRs"] = Value::Null;
            }
            cluster.server().put(object)?;
        }
        cluster.start_agents()?;
        let pods = [cluster.pod(cluster.member(1), "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
        for (from, to) in [(0, 1), (1, 0)] {
            ping::must_reach(pods[from].netns(), pods[to].address(family)?)?;
        }
        let count = pods[0].result()["ips"].as_array().map(Vec::len);
        ensure!(count == Some(1), "{}", pods[0].result());
        for member in cluster.fabric().members() {
            ensure!(problems(member)?.is_empty(), "{:?}", problems(member)?);
        }
    }
    Ok(())
}

#[test]
fn a_second_agent_on_a_node_says_so_and_leaves() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let first = cluster.member(1);
    let pods = [cluster.pod(first, "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(2))?;
    let mut second = first.node().agent_command()?;
    second.args(first.node().dir_flags());
    let output = first.node().netns().enter(|| exec::output(&mut second, &[]))??;
    let said = output.complaint();
    ensure!(output.status.code() == Some(1), "{said}");
    let holder = format!("(pid {})", first.node().agent_pid()?);
    ensure!(said.contains("another agent already runs on") && said.contains(&holder), "{said}");
    ensure!(problems(first)?.is_empty() && status(first)?["connected"] == true);
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    all_talk(&pods)
}

/// Names of the pods that the node has endpoints of.
fn endpoints(member: &Member) -> Result<Vec<String>> {
    let list = member.node().api("GET", "/v1/endpoints", None)?.json;
    let names = list.as_array().into_iter().flatten().filter_map(|one| one["pod"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn a_pod_whose_namespace_vanishes_is_released_whether_the_agent_sees_it_or_not() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let first = cluster.member(1);
    let netns = first.node().netns();
    let stays = cluster.pod(first, "shop", "stays")?;
    // The kernel takes a namespace apart in its own time, and namespaces of other tests before it.
    let vanish = |pod: Pod| {
        let link = pod.host_ifname()?;
        drop(pod);
        let gone = || Ok(!kernel::host_ends(netns)?.contains(&link));
        wait::until("its interface is gone", Duration::from_secs(60), gone)
    };
    let released = || {
        wait::until("it is released", SOON, || Ok(endpoints(first)? == ["stays"]))
            .with_context(|| format!("{:?}", endpoints(first)))
    };

    let goes = cluster.pod(first, "shop", "goes")?;
    first.node().stop_agent(Signal::SIGKILL)?;
    vanish(goes)?;
    first.node().start_agent()?;
    released().context("while the agent was away")?;

    vanish(cluster.pod(first, "shop", "goes")?)?;
    released().context("under its eyes")?;
    ping::must_reach(netns, stays.address(Family::V4)?).map(drop)
}
