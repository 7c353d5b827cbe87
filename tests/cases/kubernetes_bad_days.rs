//! An API server that is slow, flaps, refuses or returns garbage.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::apiserver::{Bad, Faults};
use weft_tests::cluster::{Cluster, SOON, all_talk, conflist, knows, launch, peers, problems, put_stranger, status};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::site::Site;
use weft_tests::traffic::ping::Steady;
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
    wait::until("all is well", SOON, || Ok(status(first)?["connected"] == true && problems(first)?.is_empty()))?;
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
