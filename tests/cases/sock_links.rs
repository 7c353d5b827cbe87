//! Where the programs for sockets are attached, and for how long.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::exec;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::publish::{self, Published};

use super::{at, set};

/// How many programs of this node's agent a cgroup has.
fn programs(cgroup: &Path) -> Result<usize> {
    let list = exec::tool("bpftool", &["-j", "cgroup", "show", cgroup.to_str().context("a path in UTF-8")?])?;
    if list.trim().is_empty() {
        return Ok(0);
    }
    let list: serde_json::Value = serde_json::from_str(&list).with_context(|| format!("no JSON: {list}"))?;
    list.as_array().map(Vec::len).with_context(|| format!("no list: {list}"))
}

/// Names of the pinned links of cgroups.
fn pins(node: &Node) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(node.pins().join("links")) else { return Ok(Vec::new()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<std::io::Result<_>>().context("list the links")?;
    Ok(names.into_iter().filter(|name| name.starts_with("cgroup_")).collect())
}

/// The cgroup that the agent says to serve.
fn served(node: &Node) -> Result<PathBuf> {
    let status = node.weft_json(&["status"])?;
    ensure!(status["ports"]["sockets"] == "cgroup", "{status}");
    Ok(status["ports"]["cgroup"].as_str().context("no cgroup is named")?.into())
}

/// Sockets of the node are served, by both families.
fn must_serve(node: &Node, published: &Published) -> Result<()> {
    Family::BOTH
        .into_iter()
        .try_for_each(|family| published.server.must_answer(node.netns(), at(publish::loopback(family))).map(drop))
}

#[test]
fn links_outlive_the_agent_and_are_taken_over() -> Result<()> {
    let (node, published) = set()?;
    let cgroup = served(&node)?;
    ensure!(programs(&cgroup)? == 8 && pins(&node)?.len() == 8, "{:?}", pins(&node)?);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        node.stop_agent(signal)?;
        must_serve(&node, &published).context("without an agent")?;
        node.start_agent()?;
        must_serve(&node, &published).context("with a new agent")?;
        ensure!(programs(&cgroup)? == 8 && pins(&node)?.len() == 8, "{:?}", pins(&node)?);
    }
    node.stop_agent(Signal::SIGTERM)?;
    let output = node.run_agent(&["cleanup"])?;
    ensure!(output.status.success(), "cleanup: {}", output.complaint());
    ensure!(programs(&cgroup)? == 0 && pins(&node)?.is_empty(), "left: {:?}", pins(&node)?);
    Ok(())
}

#[test]
fn links_follow_to_another_cgroup_and_back_from_one_that_is_gone() -> Result<()> {
    let (node, published) = set()?;
    let cgroup = served(&node)?;
    let other = cgroup.join("other");
    fs::create_dir(&other).context("create a cgroup")?;
    let mut command = node.agent_command()?;
    command.args(node.dir_flags()).arg(format!("--cgroup={}", other.display()));
    node.stop_agent(Signal::SIGTERM)?;
    node.start_agent_as(&mut command)?;
    ensure!(served(&node)? == other, "{:?}", served(&node)?);
    ensure!(programs(&cgroup)? == 0 && programs(&other)? == 8, "not in their places");
    node.stop_agent(Signal::SIGTERM)?;
    fs::remove_dir(&other).context("remove a cgroup")?;
    node.start_agent()?;
    ensure!(served(&node)? == cgroup && programs(&cgroup)? == 8, "not back");
    must_serve(&node, &published)
}

#[test]
fn without_cgroups_the_agent_starts_and_says_what_is_missing() -> Result<()> {
    let node = Node::start_with(Settings::new(Attach::preferred()).without_cgroups())?;
    let status = node.weft_json(&["status"])?;
    ensure!(status["ready"] == true && status["ports"]["sockets"] != "cgroup", "{status}");
    let problem = status["ports"]["problem"].as_str().context("no problem is named")?;
    ensure!(problem.contains("cgroup v2") && problem.contains("--cgroup"), "{problem}");
    ensure!(status["problems"].to_string().contains(problem), "{status}");
    ensure!(pins(&node)?.is_empty(), "left: {:?}", pins(&node)?);
    Ok(())
}
