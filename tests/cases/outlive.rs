//! The datapath outlives the agent: it is pinned, and no restart loses a packet.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_abi::{Direction, Reason};
use weft_tests::daemon::ended_by;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::{self, Link};
use weft_tests::pod::Pod;
use weft_tests::runtime::refused;
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::traffic::stream;
use weft_tests::{drops, exec, kernel, on_both_attachments};

on_both_attachments!(
    maps_and_links_are_pinned_and_go_with_their_endpoint,
    ten_restarts_lose_no_packet,
    a_stream_goes_on_through_restarts,
    without_an_agent_pods_still_talk_and_are_still_guarded,
    a_new_agent_serves_what_an_old_one_attached,
);

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let mut names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.sort();
    Ok(names)
}

/// Pinned links of one device: the node's own have theirs too.
fn links_of(node: &Node, device: &str) -> Result<Vec<String>> {
    let links = names(&node.pins().join("links"))?;
    Ok(links.into_iter().filter(|name| name.starts_with(&format!("{device}_"))).collect())
}

fn maps_and_links_are_pinned_and_go_with_their_endpoint(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let pod = node.pod()?;
    let pinned = names(&node.pins())?;
    for map in [weft_abi::map::PODS, weft_abi::map::COUNTERS, weft_abi::map::EVENTS] {
        assert!(pinned.iter().any(|name| name == map), "{map} is not among {pinned:?}");
    }
    let host = pod.host_ifname()?;
    match attach {
        Attach::Tcx => {
            assert_eq!(links_of(&node, &host)?, [format!("{host}_from_pod"), format!("{host}_to_pod")]);
        }
        Attach::Clsact => {
            for hook in ["ingress", "egress"] {
                let filters = exec::tool_in(node.netns(), "tc", &["filter", "show", "dev", &host, hook])?;
                assert!(filters.contains("bpf"), "no filter at {hook} of {host}: {filters:?}");
            }
        }
    }
    pod.del(&node)?;
    assert!(links_of(&node, &host)?.is_empty(), "a link's pin was left");
    let entries = node.weft_json(&["map", "dump", weft_abi::map::PODS])?;
    assert!(entries.as_array().is_some_and(Vec::is_empty), "{entries}");
    Ok(())
}

/// Restarts the agent, each time in another way.
fn restart(node: &Node, times: usize) -> Result<()> {
    for number in 0..times {
        let signal = if number % 2 == 0 { Signal::SIGKILL } else { Signal::SIGTERM };
        let status = node.stop_agent(signal)?;
        ensure!(status.success() || ended_by(status, Signal::SIGKILL), "the agent ended with {status}");
        node.start_agent()?;
    }
    Ok(())
}

fn ten_restarts_lose_no_packet(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let (a, b) = (node.pod()?, node.pod()?);
    let every = Duration::from_millis(2);
    let mut running = Vec::new();
    for family in Family::BOTH {
        running.push((format!("{family:?} pod to pod"), Steady::start(a.netns(), b.address(family)?, every)?));
        running.push((format!("{family:?} node to pod"), Steady::start(node.netns(), b.address(family)?, every)?));
        running.push((format!("{family:?} pod to node"), Steady::start(a.netns(), node.gateway(family), every)?));
    }
    restart(&node, 10)?;
    for (what, ping) in running {
        let report = ping.stop()?;
        ensure!(report.sent > 100, "{what}: only {} packets", report.sent);
        ensure!(report.lost() == 0, "{what}: {} of {} lost", report.lost(), report.sent);
    }
    Ok(())
}

fn a_stream_goes_on_through_restarts(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let (a, b) = (node.pod()?, node.pod()?);
    thread::scope(|scope| {
        let streams = Family::BOTH.map(|family| {
            let (a, b) = (&a, &b);
            scope.spawn(move || stream::both_ways(a.netns(), b.netns(), b.address(family)?, 256 << 20))
        });
        restart(&node, 3)?;
        for stream in streams {
            stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    })
}

/// A packet of `liar` with an address that is not its own, towards `victim`.
fn forged(node: &Node, liar: &Pod, victim: &Pod) -> Result<Vec<u8>> {
    let host = kernel::ip(node.netns(), &format!("link show {}", liar.host_ifname()?))?;
    let host_mac = host[0]["address"].as_str().context("no MAC")?.parse()?;
    let link = Link { src: liar.mac()?, dst: host_mac };
    craft::udp(link, "10.244.0.250".parse()?, victim.address(Family::V4)?, 9, b"weft-outlive-mark")
}

fn without_an_agent_pods_still_talk_and_are_still_guarded(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let (a, b) = (node.pod()?, node.pod()?);
    node.stop_agent(Signal::SIGKILL)?;
    for family in Family::BOTH {
        ping::must_reach(a.netns(), b.address(family)?)?;
        ping::must_reach(node.netns(), b.address(family)?)?;
    }
    let seen = FrameSocket::open(b.netns(), "eth0")?;
    FrameSocket::open(a.netns(), "eth0")?.send(&forged(&node, &a, &b)?)?;
    let leaked = seen.wait_for(Duration::from_millis(100), |frame| frame.ends_with(b"weft-outlive-mark"))?;
    assert_eq!(leaked, None, "a forged packet passed while no agent ran");
    let refusal = refused(node.pod())?;
    assert_eq!(refusal.code, 11, "{refusal}");
    Ok(())
}

fn a_new_agent_serves_what_an_old_one_attached(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    let (a, b) = (node.pod()?, node.pod()?);
    let wire = FrameSocket::open(a.netns(), "eth0")?;
    let before = drops::read(&node)?;
    wire.send(&forged(&node, &a, &b)?)?;
    drops::wait_for(&node, &before, Reason::SourceAddr, Direction::Egress)?;
    restart(&node, 2)?;
    let after = drops::read(&node)?;
    assert_eq!(drops::count(&after, Reason::SourceAddr, Direction::Egress), 1, "the counters were lost");
    let mut again = after.clone();
    again.recent.clear();
    wire.send(&forged(&node, &a, &b)?)?;
    let record = drops::wait_for(&node, &again, Reason::SourceAddr, Direction::Egress)?;
    assert_eq!(record.endpoint, Some(a.key()));
    a.check(&node)?;
    b.check(&node)?;
    a.del(&node)?;
    let late = node.pod()?;
    for family in Family::BOTH {
        assert_ne!(late.address(family)?, b.address(family)?, "an address was handed out twice");
        ping::must_reach(late.netns(), b.address(family)?)?;
    }
    Ok(())
}
