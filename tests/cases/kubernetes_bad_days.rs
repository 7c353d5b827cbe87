//! An API server that is slow, flaps, refuses, returns garbage or falls silent; clocks and names that are wrong.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::apiserver::{Bad, Faults, NODES};
use weft_tests::cluster::{
    Cluster, SOON, all_talk, conflist, knows, launch, node, peers, problems, put_stranger, status,
};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::site::Site;
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::wait;

fn two() -> Layout {
    Layout::new(Routing::Overlay, Attach::preferred()).nodes(2)
}

#[test]
fn bad_answers_change_nothing_and_are_told_and_forgotten() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let pods = [cluster.pod(first, "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V6)?, Duration::from_millis(2))?;
    let all =
        [Bad::Garbage, Bad::Truncated, Bad::HangUp, Bad::Forbidden, Bad::Gone, Bad::Busy { seconds: 1 }, Bad::Broken];
    for (number, bad) in all.into_iter().enumerate() {
        server.misbehave(Faults { bad: Some(bad), ..Faults::default() });
        // Streams that stand go on; the next ones fail.
        server.drop_connections();
        let new = format!("n{number}-new");
        put_stranger(server, &new, &format!("10.244.{}.0/24", 100 + number))?;
        // A truncated list may be what one gets of a stream, which cannot be cut before it ends.
        if bad != Bad::Truncated {
            wait::until("it is told", SOON, || Ok(!problems(first)?.is_empty())).with_context(|| format!("{bad:?}"))?;
        }
        ensure!(knows(first, "n2")?, "{bad:?} took a node away: {:?}", peers(first)?);
        server.misbehave(Faults::default());
        wait::until("what came meanwhile is learnt", 3 * SOON, || knows(first, &new))
            .with_context(|| format!("{bad:?}: {:?}", problems(first)))?;
        wait::until("all is well", 3 * SOON, || Ok(problems(first)?.is_empty()))
            .with_context(|| format!("{bad:?}: {:?}", problems(first)))?;
    }
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    all_talk(&pods)
}

#[test]
fn answers_that_take_ten_seconds_are_waited_for() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    server.misbehave(Faults { delay: Duration::from_secs(10), ..Faults::default() });
    let started = Instant::now();
    launch(first)?;
    wait::until("the network is announced", wait::patience(Duration::from_secs(45)), || Ok(conflist(first).is_ok()))
        .with_context(|| format!("{:?}\n{}", problems(first), first.node().agent_log()))?;
    ensure!(started.elapsed() > Duration::from_secs(9), "without an answer");
    first.node().wait_ready(SOON)?;
    // An agent that was here before does not wait.
    first.node().stop_agent(Signal::SIGTERM)?;
    let took = first.node().start_agent()?;
    ensure!(took < Duration::from_secs(5), "ready after {took:?}");
    let pods = [cluster.run_pod(first, "shop", "web")?, cluster.run_pod(first, "shop", "db")?];
    all_talk(&pods)
}

#[test]
fn a_server_that_flaps_is_followed_between() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let pods = [cluster.pod(first, "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(2))?;
    for round in 0..10_u64 {
        server.stop();
        put_stranger(server, &format!("new-{round}"), &format!("10.244.{}.0/24", 100 + round))?;
        thread::sleep(Duration::from_millis(20 * round));
        server.resume()?;
        thread::sleep(Duration::from_millis(30 * (10 - round)));
    }
    wait::until("all that came is known", 3 * SOON, || Ok(peers(first)?.len() == 11))
        .with_context(|| format!("{:?}", peers(first)))?;
    wait::until("all is well", 3 * SOON, || Ok(status(first)?["connected"] == true && problems(first)?.is_empty()))?;
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

#[test]
fn a_start_on_garbage_announces_nothing_and_recovers() -> Result<()> {
    let cluster = Cluster::lay(&Site::of_tests()?, two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    server.misbehave(Faults { bad: Some(Bad::Garbage), ..Faults::default() });
    launch(first)?;
    wait::until("it is told", SOON, || Ok(!problems(first)?.is_empty()))?;
    ensure!(conflist(first).is_err(), "announced on garbage");
    server.misbehave(Faults::default());
    wait::until("the network is announced", 3 * SOON, || Ok(conflist(first).is_ok()))?;
    first.node().wait_ready(SOON)
}

#[test]
fn a_server_that_is_silent_for_longer_than_anything_waits_changes_nothing() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let [first, second] = [1, 2].map(|number| cluster.member(number));
    let mut pods = vec![cluster.pod(first, "shop", "web")?, cluster.pod(second, "shop", "db")?];
    let steady = Steady::start(pods[0].netns(), pods[1].address(Family::V4)?, Duration::from_millis(5))?;
    cluster.cut()?;
    let started = Instant::now();
    put_stranger(cluster.server(), "n9", "10.244.9.0/24")?;
    pods.push(cluster.run_pod(first, "shop", "early").context("a new pod early on")?);
    // Every round of the agent comes by, and every connection is given up.
    wait::until("the silence is told", Duration::from_secs(120), || {
        Ok(status(first)?["connected"] == false && problems(first)?.iter().any(|one| one.contains("192.0.2.1:6443")))
    })
    .with_context(|| format!("{:?}", problems(first)))?;
    thread::sleep(Duration::from_secs(70).saturating_sub(started.elapsed()));
    ensure!(knows(first, "n2")? && conflist(first).is_ok());
    pods.push(cluster.run_pod(first, "shop", "late").context("a new pod late")?);
    first.node().stop_agent(Signal::SIGTERM)?;
    let took = first.node().start_agent().context("an agent's start in silence")?;
    ensure!(took < Duration::from_secs(5), "ready after {took:?}");
    pods.push(cluster.run_pod(first, "shop", "last").context("a new pod of an agent that never met its server")?);
    all_talk(&pods)?;
    cluster.mend()?;
    wait::until("what happened meanwhile is learnt", Duration::from_secs(40), || {
        Ok(knows(first, "n9")? && knows(second, "n9")?)
    })?;
    wait::until("all is well again", 3 * SOON, || Ok(problems(first)?.is_empty() && problems(second)?.is_empty()))?;
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    Ok(())
}

#[test]
fn a_clock_that_is_wrong_is_told_and_costs_nothing_that_runs() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let pods = [cluster.pod(first, "shop", "web")?, cluster.pod(cluster.member(2), "shop", "db")?];
    // To a clock that is behind the certificate is of the future, to one that is ahead it has expired.
    for (number, years, word) in [(1, 2999..3000, "not valid yet"), (2, 1999..2000, "expired")] {
        server.certify(years)?;
        cluster.hand_out_account()?;
        server.drop_connections();
        let named = || Ok(problems(first)?.iter().any(|one| one.contains(word) && one.contains("clock")));
        wait::until("it is told", SOON, named).with_context(|| format!("{:?}", problems(first)))?;
        let mut all = vec![cluster.run_pod(first, "shop", &format!("new-{number}"))?];
        all_talk(&pods)?;
        // What others' clocks have written is not believed nor doubted.
        let mut odd = node("odd", &[format!("10.244.{}.0/24", 80 + number)], &[[198, 18, 1, number].into()]);
        odd["metadata"]["creationTimestamp"] = "2999-01-01T00:00:00Z".into();
        server.put(odd)?;
        server.certify(1975..4096)?;
        cluster.hand_out_account()?;
        wait::until("it is followed again", 3 * SOON, || knows(first, "odd"))?;
        wait::until("all is well", 3 * SOON, || Ok(problems(first)?.is_empty()))?;
        server.remove(NODES, "", "odd")?;
        all.remove(0).del(first.node())?;
    }
    Ok(())
}

#[test]
fn a_node_that_is_renamed_gets_new_ranges_and_keeps_its_pods() -> Result<()> {
    let cluster = Cluster::start(two())?;
    let (server, first) = (cluster.server(), cluster.member(1));
    let (old, far) = (cluster.pod(first, "shop", "old")?, cluster.pod(cluster.member(2), "shop", "far")?);
    let steady = Steady::start(old.netns(), first.gateway(Family::V4), Duration::from_millis(2))?;
    first.node().stop_agent(Signal::SIGTERM)?;
    let addresses = Family::BOTH.map(|family| first.address(family));
    server.put(node("renamed", &["10.244.51.0/24", "fd00:10:244:51::/64"], &addresses))?;
    let mut settings = first.node().settings().clone();
    settings.node_name = "renamed".into();
    let mut command = first.node().bare_agent_command()?;
    command.args(settings.flags()).args(first.node().dir_flags());
    first.node().start_agent_as(&mut command)?;
    let new = cluster.run_pod(first, "shop", "new")?;
    ensure!(new.address(Family::V4)?.to_string().starts_with("10.244.51."), "{}", new.result());
    for family in Family::BOTH {
        ping::must_reach(old.netns(), new.address(family)?).context("old to new")?;
    }
    // Until its old object is removed there seem to be two nodes in one place.
    let says =
        |member, words: [&str; 2]| Ok(problems(member)?.iter().any(|one| words.iter().all(|word| one.contains(word))));
    for member in cluster.fabric().members() {
        wait::until("both are named", SOON, || says(member, ["n1", "192.0.2.11"]))
            .with_context(|| format!("{:?}", problems(member)))?;
    }
    server.remove(NODES, "", "n1")?;
    wait::until("the other node knows the new name", SOON, || knows(cluster.member(2), "renamed"))?;
    for family in Family::BOTH {
        ping::must_reach(far.netns(), new.address(family)?).context("from the other node")?;
    }
    wait::until("pods of the old range are named", SOON, || says(first, ["shop/old", "make them anew"]))
        .with_context(|| format!("{:?}", problems(first)))?;
    let report = steady.stop()?;
    ensure!(report.lost() == 0, "{} of {} packets were lost", report.lost(), report.sent);
    old.del(first.node())?;
    wait::until("all is well", SOON, || Ok(problems(first)?.is_empty())).map(drop)
}
