//! Going back and forth between two versions: pods' traffic flows on, and each serves what the other has made.
//!
//! The other version's binaries are those of `WEFT_OTHER_DIST`; without it, copies that differ in their bytes.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::cluster::{Cluster, SOON, knows};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::Pod;
use weft_tests::site::Site;
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::ping::{self, Steady};
use weft_tests::traffic::stream;
use weft_tests::traffic::talk::Talk;
use weft_tests::{kernel, need, on_both_attachments, wait};

on_both_attachments!(nothing_is_lost_between_two_versions, each_version_serves_what_the_other_has_made,);

/// A node that is served by one version after the other.
struct Versions<'a> {
    node: &'a Node,
    dists: [PathBuf; 2],
    bin: PathBuf,
    conf: PathBuf,
}

impl<'a> Versions<'a> {
    fn of(node: &'a Node) -> Result<Self> {
        let (bin, conf) = match &node.settings().cluster {
            Some(cluster) => (cluster.bin_dir.clone(), cluster.conf_dir.clone()),
            None => (node.dir().join("bin"), node.dir().join("net.d")),
        };
        let other = match env::var_os("WEFT_OTHER_DIST") {
            Some(other) => PathBuf::from(other),
            None => copies(&node.dir().join("other"))?,
        };
        Ok(Self { dists: [need::dist(), other], node, bin, conf })
    }

    /// Starts that version's agent, and waits until it is the one that serves and its plugin is in place.
    fn start(&self, version: usize) -> Result<()> {
        let dist = &self.dists[version];
        let usual = self.node.agent_command()?;
        let mut command = Command::new(dist.join("weft-agent"));
        command.args(usual.get_args()).args(self.node.dir_flags()).current_dir("/").env_clear();
        command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if self.node.settings().cluster.is_none() {
            command.arg(format!("--cni-bin-dir={}", self.bin.display()));
            command.arg(format!("--cni-conf-dir={}", self.conf.display()));
        }
        self.node.start_agent_as(&mut command)?;
        let plugin = fs::read(dist.join("weft-cni")).context("read a plugin")?;
        let installed = || Ok(fs::read(self.bin.join("weft-cni")).is_ok_and(|found| found == plugin));
        wait::until("the plugin", Duration::from_secs(5), installed)?;
        let running = fs::read_link(format!("/proc/{}/exe", self.node.agent_pid()?))?;
        ensure!(running.starts_with(dist), "{} runs", running.display());
        // The first one writes it when it is ready.
        let conflist = self.conf.join("05-weft.conflist");
        wait::until("the conflist", Duration::from_secs(5), || Ok(conflist.exists())).map(drop)
    }

    /// From the version that runs to that one, as politely as a `DaemonSet`, or not.
    fn swap(&self, version: usize, signal: Signal) -> Result<()> {
        self.node.stop_agent(signal)?;
        self.start(version)
    }
}

/// The same version in other bytes: what stands behind an ELF file's end is nobody's.
fn copies(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).context("make a directory")?;
    for name in ["weft-agent", "weft-cni", "weft"] {
        let copy = directory.join(name);
        fs::copy(need::binary(name)?, &copy).context("copy a binary")?;
        let mut file = OpenOptions::new().append(true).open(&copy).context("open a copy")?;
        file.write_all(b"another version").context("alter a copy")?;
    }
    Ok(directory.to_owned())
}

fn nothing_is_lost_between_two_versions(attach: Attach) -> Result<()> {
    let node = &Node::without_agent(Settings::new(attach))?;
    let versions = Versions::of(node)?;
    versions.start(0)?;
    let (a, b) = (node.pod()?, node.pod()?);
    let every = Duration::from_millis(2);
    let mut pings = Vec::new();
    for family in Family::BOTH {
        pings.push((format!("{family:?} pod to pod"), Steady::start(a.netns(), b.address(family)?, every)?));
        pings.push((format!("{family:?} pod to node"), Steady::start(a.netns(), node.gateway(family), every)?));
    }
    let swapped = AtomicBool::new(false);
    let streamed = thread::scope(|scope| -> Result<usize> {
        let streams = Family::BOTH.map(|family| {
            let (a, b, swapped) = (&a, &b, &swapped);
            scope.spawn(move || -> Result<usize> {
                let mut rounds = 0;
                while !swapped.load(Ordering::Relaxed) {
                    stream::both_ways(a.netns(), b.netns(), b.address(family)?, 64 << 20)?;
                    rounds += 1;
                }
                Ok(rounds)
            })
        });
        let swaps = [(1, Signal::SIGTERM), (0, Signal::SIGTERM), (1, Signal::SIGKILL), (0, Signal::SIGKILL)];
        let done = swaps.into_iter().try_for_each(|(version, signal)| versions.swap(version, signal));
        swapped.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        for stream in streams {
            rounds += stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        done.map(|()| rounds)
    })?;
    ensure!(streamed > 0, "no stream ran");
    for (what, ping) in pings {
        let report = ping.stop()?;
        ensure!(report.sent > 100, "{what}: only {} packets", report.sent);
        ensure!(report.lost() == 0, "{what}: {} of {} lost", report.lost(), report.sent);
    }
    Ok(())
}

#[test]
fn a_rollout_over_the_nodes_of_a_cluster_loses_nothing_and_neither_does_the_way_back() -> Result<()> {
    let layout = Layout::new(Routing::Overlay, Attach::preferred()).nodes(2);
    let cluster = Cluster::lay(&Site::of_tests()?, layout)?;
    let nodes = [1, 2].map(|number| cluster.member(number).node());
    let versions = [Versions::of(nodes[0])?, Versions::of(nodes[1])?];
    versions.iter().try_for_each(|node| node.start(0))?;
    for (number, name) in [(1, "n2"), (2, "n1")] {
        wait::until("the nodes know each other", SOON, || knows(cluster.member(number), name))?;
    }
    let near = cluster.pod(cluster.member(1), "shop", "web")?;
    let far = cluster.pod(cluster.member(2), "shop", "db")?;
    let (mut pings, mut talks) = (Vec::new(), Vec::new());
    for family in Family::BOTH {
        let (pod, world) = (far.address(family)?, cluster.fabric().world_address(family));
        for (what, netns, address) in [("a pod", far.netns(), pod), ("the world", cluster.fabric().world(), world)] {
            let name = format!("{family:?} to {what}");
            let server = Tcp::listen(netns, address)?;
            let (client, accepted, _) = server.pair(near.netns(), None, server.address()).context(name.clone())?;
            talks.push((name.clone(), Talk::start(client, accepted)));
            pings.push((name, Steady::start(near.netns(), address, Duration::from_millis(2))?));
        }
    }
    // Forth, one node after the other, and back the same way; in between two versions talk to each other.
    for version in [1, 0] {
        for (number, node) in versions.iter().enumerate() {
            node.swap(version, Signal::SIGTERM)?;
            let fresh = cluster.run_pod(cluster.member(number + 1), "shop", &format!("new-{number}-{version}"))?;
            for family in Family::BOTH {
                ping::must_reach(fresh.netns(), [&far, &near][number].address(family)?)?;
            }
            fresh.del(node.node)?;
        }
    }
    for (what, ping) in pings {
        let report = ping.stop()?;
        ensure!(report.sent > 100 && report.lost() == 0, "{what}: {} of {} lost", report.lost(), report.sent);
    }
    for (what, talk) in talks {
        talk.stop().context(what)?;
    }
    Ok(())
}

fn each_version_serves_what_the_other_has_made(attach: Attach) -> Result<()> {
    let node = &Node::without_agent(Settings::new(attach))?;
    let versions = Versions::of(node)?;
    versions.start(0)?;
    let first = node.pod()?;
    versions.swap(1, Signal::SIGTERM)?;
    first.check(node)?;
    let second = node.pod()?;
    reach_each_other(&first, &second)?;
    versions.swap(0, Signal::SIGTERM)?;
    second.check(node)?;
    let third = node.pod()?;
    reach_each_other(&second, &third)?;
    versions.swap(1, Signal::SIGKILL)?;
    for pod in [first, second, third] {
        pod.del(node)?;
    }
    assert_eq!(kernel::host_ends(node.netns())?, Vec::<String>::new());
    let entries = node.weft_json(&["map", "dump", weft_abi::map::PODS])?;
    assert!(entries.as_array().is_some_and(Vec::is_empty), "{entries}");
    Ok(())
}

fn reach_each_other(one: &Pod, other: &Pod) -> Result<()> {
    for family in Family::BOTH {
        ping::must_reach(one.netns(), other.address(family)?)?;
        ping::must_reach(other.netns(), one.address(family)?)?;
    }
    Ok(())
}
