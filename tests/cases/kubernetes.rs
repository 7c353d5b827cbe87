//! What the agent learns of its cluster by watching it, and what it does when it cannot.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use weft_tests::apiserver::NODES;
use weft_tests::cluster::{Cluster, SOON, all_talk, conflist, knows, node, peers, problems, put_stranger, status};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::{on_both_routings, wait};

on_both_routings!(
    nodes_learn_of_each_other_and_their_pods_talk,
    nodes_that_come_and_go_are_followed,
    nothing_changes_while_the_server_is_away,
);

fn nodes_learn_of_each_other_and_their_pods_talk(routing: Routing, attach: Attach) -> Result<()> {
    let cluster = Cluster::start(Layout::new(routing, attach))?;
    let members = cluster.fabric().members();
    let pods = members.iter().enumerate().map(|(number, one)| cluster.pod(one, "shop", &format!("web-{number}")));
    let pods = pods.collect::<Result<Vec<_>>>()?;
    all_talk(&pods)?;
    let addresses: Vec<&str> =
        pods[0].result()["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str()).collect();
    ensure!(addresses.iter().any(|one| one.starts_with("10.244.1.")), "of the node's own range: {addresses:?}");
    for member in members {
        wait::until("the status counts nodes and pods", SOON, || {
            let status = status(member)?;
            Ok(status["connected"] == true && status["nodes"] == 3 && status["pods"] == 1)
        })
        .with_context(|| format!("{:?}", status(member)))?;
        ensure!(problems(member)?.is_empty(), "{:?}", problems(member)?);
    }
    Ok(())
}

fn nodes_that_come_and_go_are_followed(routing: Routing, attach: Attach) -> Result<()> {
    let cluster = Cluster::start(Layout::new(routing, attach))?;
    let [first, third] = [1, 3].map(|number| cluster.member(number));
    let pods = [1, 2, 3].map(|number| cluster.pod(cluster.member(number), "shop", &format!("web-{number}")));
    let pods = pods.into_iter().collect::<Result<Vec<_>>>()?;
    let others = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(2))?;
    let target = pods[2].address(Family::V4)?;
    let hears = || ping::ping(pods[0].netns(), target, 1).map(|report| report.lost() == 0);
    for _ in 0..3 {
        cluster.server().remove(NODES, "", "n3")?;
        wait::until("n3 is forgotten", SOON, || Ok(!knows(first, "n3")?))?;
        wait::until("its pods are reached no more", SOON, || Ok(!hears()?))?;
        cluster.server().put(cluster.object(third))?;
        wait::until("a pod of a node that has come back answers", SOON, hears)?;
    }
    let report = others.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets between others were lost", report.lost(), report.sent);
    Ok(())
}

fn nothing_changes_while_the_server_is_away(routing: Routing, attach: Attach) -> Result<()> {
    let cluster = Cluster::start(Layout::new(routing, attach).nodes(2))?;
    let [first, second] = [1, 2].map(|number| cluster.member(number));
    let pods = vec![cluster.pod(first, "shop", "web")?, cluster.pod(second, "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(2))?;
    cluster.server().stop();
    wait::until("the status tells that the server is away", SOON, || Ok(status(first)?["connected"] == false))?;
    wait::until("and names it", SOON, || Ok(problems(first)?.iter().any(|one| one.contains("192.0.2.1:6443"))))?;
    let mut pods = pods;
    pods.push(cluster.run_pod(first, "shop", "cache").context("a new pod while the server is away")?);
    all_talk(&pods)?;

    first.node().stop_agent(Signal::SIGKILL)?;
    all_talk(&pods).context("while neither server nor agent run")?;
    first.node().start_agent().context("an agent's start while the server is away")?;
    pods.push(cluster.run_pod(first, "shop", "queue").context("a new pod of an agent that never met its server")?);
    all_talk(&pods)?;
    conflist(first)?;

    put_stranger(cluster.server(), "n9", "10.244.9.0/24")?;
    cluster.server().resume()?;
    wait::until("what happened meanwhile is learnt", 3 * SOON, || Ok(knows(first, "n9")? && knows(second, "n9")?))?;
    wait::until("all is well again", 3 * SOON, || Ok(problems(first)?.is_empty()))
        .with_context(|| format!("{:?}", problems(first)))?;
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

#[test]
fn a_bad_node_is_left_out_and_named_and_the_others_stay() -> Result<()> {
    let cluster = Cluster::start(Layout::new(Routing::Overlay, Attach::preferred()).nodes(2))?;
    let first = cluster.member(1);
    let pods = [cluster.pod(first, "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    put_stranger(cluster.server(), "thief", "10.244.2.128/25")?;
    let mut homeless = node("homeless", &["10.244.77.0/24"], &[]);
    homeless["status"]["addresses"] = json!([]);
    cluster.server().put(homeless)?;
    put_stranger(cluster.server(), "good", "10.244.78.0/24")?;
    wait::until("the good one is known", SOON, || knows(first, "good"))?;
    let mut twin = node("twin", &["10.244.79.0/24"], &[]);
    twin["status"]["addresses"] = cluster.stored(cluster.member(2))?["status"]["addresses"].clone();
    cluster.server().put(twin)?;
    for words in [["thief", "10.244.2.128/25"], ["twin", "192.0.2.12"]] {
        let named = || Ok(problems(first)?.iter().any(|one| words.iter().all(|word| one.contains(word))));
        wait::until("the bad ones are named", SOON, named).with_context(|| format!("{:?}", problems(first)))?;
    }
    // One whose kubelet has told no address yet is no peer, and nothing is wrong with it.
    let told = problems(first)?;
    ensure!(told.len() == 1 && !told[0].contains("homeless") && !knows(first, "homeless")?, "{told:?}");
    ensure!(knows(first, "n2")?, "{:?}", peers(first)?);
    all_talk(&pods)?;
    cluster.server().remove(NODES, "", "thief")?;
    cluster.server().remove(NODES, "", "twin")?;
    wait::until("all is well again", SOON, || Ok(problems(first)?.is_empty())).map(drop)
}
