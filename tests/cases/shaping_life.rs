//! Limits from ADD to DEL, through changes and restarts.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::Pod;
use weft_tests::{exec, on_both_attachments, wait};

use super::{RATE, limited, must_be_free, must_hold, stream};

on_both_attachments!(
    rates_change_while_the_pod_runs,
    a_limit_outlives_the_agent,
    del_leaves_nothing,
    a_shaper_that_is_lost_comes_back
);

fn entries(node: &Node) -> Result<usize> {
    Ok(node.weft_json(&["map", "dump", "rates"])?.as_array().context("no list")?.len())
}

fn classes(node: &Node) -> Result<usize> {
    Ok(exec::tool_in(node.netns(), "tc", &["class", "show", "dev", "weft-shaper"])?.matches("class htb").count())
}

fn set(node: &Node, pod: &Pod, bandwidth: &serde_json::Value) -> Result<()> {
    let key = pod.key();
    let path = format!("/v1/attachments/{}/{}/bandwidth", key.container_id, key.ifname);
    let reply = node.api("PUT", &path, Some(bandwidth))?;
    ensure!(reply.status == 200, "{} {}", reply.status, reply.json);
    Ok(())
}

fn rates_change_while_the_pod_runs(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (pod, other) = (node.pod()?, node.pod()?);
    let address = pod.address(Family::V4)?;
    must_be_free("at first", other.netns(), pod.netns(), address)?;
    for rate in [RATE, RATE / 4] {
        set(&node, &pod, &json!({ "ingress": { "rate": rate } }))?;
        must_hold("after a change", &stream(other.netns(), pod.netns(), address)?, rate)?;
        pod.check(&node)?;
    }
    set(&node, &pod, &json!({}))?;
    must_be_free("at last", other.netns(), pod.netns(), address)?;
    ensure!((entries(&node)?, classes(&node)?) == (0, 0), "something is left");
    Ok(())
}

fn a_limit_outlives_the_agent(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (pod, other) = (limited(&node, Some(RATE), Some(RATE))?, node.pod()?);
    let address = pod.address(Family::V4)?;
    thread::scope(|scope| {
        let running = scope.spawn(|| stream(other.netns(), pod.netns(), address));
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            thread::sleep(Duration::from_millis(800));
            node.stop_agent(signal)?;
            node.start_agent()?;
        }
        let reached = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        must_hold("through restarts", &reached, RATE)
    })?;
    node.stop_agent(Signal::SIGKILL)?;
    must_hold("without an agent", &stream(pod.netns(), other.netns(), other.address(Family::V4)?)?, RATE)?;
    node.start_agent()?;
    ensure!((entries(&node)?, classes(&node)?) == (1, 2), "not as before");
    pod.check(&node)
}

fn del_leaves_nothing(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let pods = (0..4).map(|_| limited(&node, Some(RATE), Some(RATE))).collect::<Result<Vec<_>>>()?;
    ensure!((entries(&node)?, classes(&node)?) == (4, 8), "not every pod has its limits");
    for pod in &pods {
        pod.del(&node)?;
    }
    wait::until("no class is left", Duration::from_secs(2), || Ok(classes(&node)? == 0))?;
    ensure!(entries(&node)? == 0, "an entry is left");
    Ok(())
}

fn a_shaper_that_is_lost_comes_back(attach: Attach) -> Result<()> {
    let node = Node::start_with(Settings::new(attach))?;
    let (pod, other) = (limited(&node, Some(RATE), None)?, node.pod()?);
    let address = pod.address(Family::V4)?;
    for loss in [&["qdisc", "del", "dev", "weft-shaper", "root"][..], &[]] {
        if loss.is_empty() {
            exec::tool_in(node.netns(), "ip", &["link", "del", "weft-shaper"])?;
        } else {
            exec::tool_in(node.netns(), "tc", loss)?;
            // Nobody tells of it: the next look does.
            exec::tool_in(node.netns(), "ip", &["link", "set", "weft-shaped", "down"])?;
        }
        wait::until("it is back", Duration::from_secs(5), || Ok(classes(&node).is_ok_and(|classes| classes == 1)))?;
        must_hold("afterwards", &stream(other.netns(), pod.netns(), address)?, RATE)?;
        pod.check(&node)?;
    }
    Ok(())
}
