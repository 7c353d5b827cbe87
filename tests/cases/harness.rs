//! The harness itself: what it makes is isolated, and nothing of it stays.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use weft_tests::daemon::{Daemon, ended_by};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Node, Settings};
use weft_tests::site::{self, Site};
use weft_tests::{exec, need};

#[test]
fn a_namespace_has_nothing_but_its_own_devices() -> Result<()> {
    let site = Site::of_tests()?;
    let netns = Netns::with_loopback(&site.unique("x"))?;
    exec::ip_batch(&netns, &["link add weft-t-veth type veth peer name weft-t-peer"])?;
    let links = exec::tool_in(&netns, "ip", &["-brief", "link"])?;
    assert_eq!(links.lines().count(), 3, "{links}");
    assert!(!exec::tool("ip", &["-brief", "link"])?.contains("weft-t-veth"));
    Ok(())
}

#[test]
fn a_dropped_node_leaves_neither_name_nor_mount_nor_file() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::Tcx))?;
    let (name, dir) = (node.netns().path().to_owned(), node.dir().to_owned());
    assert!(fs::read_to_string("/proc/self/mounts")?.contains(&*dir.to_string_lossy()));
    drop(node);
    assert!(!name.exists() && !dir.exists());
    assert!(!fs::read_to_string("/proc/self/mounts")?.contains(&*dir.to_string_lossy()));
    Ok(())
}

#[test]
fn demolition_by_name_ends_processes_and_removes_namespaces_of_that_site_alone() -> Result<()> {
    let doomed = Site::open(&format!("weft-t-doomed-{}", std::process::id()))?;
    let netns = Netns::create(&doomed.unique("x"))?;
    let bystander = Netns::create(&format!("{}s", doomed.name()))?;
    let mut sleeper = Command::new(need::tool("sleep")?);
    let mut daemon = Daemon::spawn(&doomed, &netns, sleeper.arg("600"), &doomed.dir().join("log"))?;
    site::demolish(doomed.name());
    assert!(ended_by(daemon.wait(Duration::from_secs(5))?, Signal::SIGKILL));
    assert!(!netns.path().exists() && !doomed.dir().exists() && bystander.path().exists());
    Ok(())
}
