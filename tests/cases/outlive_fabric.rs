//! Agents stop, die and return under traffic across nodes and to the world: nothing is lost.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::pod::Pod;
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::ping::Steady;
use weft_tests::traffic::talk::Talk;
use weft_tests::traffic::{ping, stream};
use weft_tests::{on_both_routings, on_every_fabric};

on_every_fabric!(restarts_under_traffic_lose_nothing, without_an_agent_all_ways_stay_open);
on_both_routings!(a_long_stream_goes_on_through_restarts, a_clean_up_leaves_nothing_on_the_node);

fn set(routing: Routing, attach: Attach) -> Result<(Fabric, Vec<Pod>)> {
    let fabric = Fabric::start(Layout::new(routing, attach))?;
    let pods = fabric.pods()?;
    Ok((fabric, pods))
}

fn restarts_under_traffic_lose_nothing(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    let (mut pings, mut talks) = (Vec::new(), Vec::new());
    for family in Family::BOTH {
        let (other, world) = (pods[1].address(family)?, fabric.world_address(family));
        for (what, netns, address) in [("a pod", pods[1].netns(), other), ("the world", fabric.world(), world)] {
            let name = format!("{family:?} to {what}");
            let server = Tcp::listen(netns, address)?;
            let (near, far, _) = server.pair(pods[0].netns(), None, server.address()).with_context(|| name.clone())?;
            talks.push((name.clone(), Talk::start(near, far)));
            pings.push((name, Steady::start(pods[0].netns(), address, Duration::from_millis(2))?));
        }
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGKILL] {
        thread::sleep(Duration::from_millis(50));
        for member in [fabric.node(1), fabric.node(2)] {
            member.stop_agent(signal)?;
        }
        thread::sleep(Duration::from_millis(50));
        for member in [fabric.node(1), fabric.node(2)] {
            member.start_agent()?;
        }
    }
    thread::sleep(Duration::from_millis(50));
    for (what, ping) in pings {
        let report = ping.stop()?;
        ensure!(report.lost() == 0, "{what}: {} of {} packets were lost", report.lost(), report.sent);
    }
    for (what, talk) in talks {
        let report = talk.stop().with_context(|| what.clone())?;
        // The pings tell of every loss; a connection that stood still would show here, on a busy machine too.
        ensure!(report.slowest < Duration::from_secs(1), "{what}: an answer took {:?}", report.slowest);
    }
    Ok(())
}

fn without_an_agent_all_ways_stay_open(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    for member in fabric.members() {
        member.node().stop_agent(Signal::SIGKILL)?;
    }
    for family in Family::BOTH {
        let (other, world) = (pods[1].address(family)?, fabric.world_address(family));
        ping::must_reach(pods[0].netns(), other)?;
        stream::both_ways(pods[2].netns(), pods[1].netns(), other, 1 << 20)?;
        let server = Tcp::listen(fabric.world(), world)?;
        let met = server.meet(pods[0].netns(), server.address())?;
        ensure!(met.seen.ip() == fabric.member(1).address(family), "{met:?}");
    }
    Ok(())
}

fn a_long_stream_goes_on_through_restarts(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    thread::scope(|scope| {
        let mut streams = Vec::new();
        for family in Family::BOTH {
            let (other, world) = (pods[1].address(family)?, fabric.world_address(family));
            let (near, far, outside) = (pods[0].netns(), pods[1].netns(), fabric.world());
            streams.push(scope.spawn(move || stream::both_ways(near, far, other, 128 << 20)));
            streams.push(scope.spawn(move || stream::both_ways(near, outside, world, 128 << 20)));
        }
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            thread::sleep(Duration::from_millis(100));
            fabric.node(1).stop_agent(signal)?;
            fabric.node(1).start_agent()?;
        }
        for stream in streams {
            stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}

fn a_clean_up_leaves_nothing_on_the_node(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::lay(&weft_tests::site::Site::of_tests()?, Layout::new(routing, attach).nodes(2))?;
    let node = fabric.node(1);
    let picture = || -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for words in ["link show", "addr show", "route show table all", "-6 route show table all"] {
            let text = weft_tests::exec::tool_in(node.netns(), "ip", &words.split(' ').collect::<Vec<_>>())?;
            // Lifetimes change by themselves, and a router (which the node stays) hears anycast.
            let lasting = text.lines().filter(|line| !line.contains("valid_lft") && !line.starts_with("anycast"));
            lines.extend(lasting.map(|line| line.trim().to_owned()));
        }
        Ok(lines)
    };
    let before = picture()?;
    fabric.start_agents()?;
    let pod = node.pod()?;
    ping::must_reach(pod.netns(), fabric.world_address(Family::V4))?;
    pod.del(node)?;
    node.stop_agent(Signal::SIGTERM)?;
    let output = node.run_agent(&["cleanup"])?;
    ensure!(output.status.success(), "{}", output.complaint());
    let after = picture()?;
    let left: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    ensure!(left.is_empty() && gone.is_empty(), "left: {left:#?}, gone: {gone:#?}");
    for hook in ["ingress", "egress"] {
        let filters = weft_tests::exec::tool_in(node.netns(), "tc", &["filter", "show", "dev", "up0", hook])?;
        ensure!(filters.trim().is_empty(), "{filters}");
    }
    ensure!(!node.bpf_dir().exists(), "maps are still pinned");
    Ok(())
}
