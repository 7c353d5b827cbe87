//! A `ConfigMap` with a mistake: who reads it says what is wrong and how to mend it, and ends; nothing else notices.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weft_tests::cluster::{Cluster, conflist, joined};
use weft_tests::exec;
use weft_tests::fabric::{Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::site::Site;
use weft_tests::traffic::ping::{self, Steady};

/// A `ConfigMap` as the kubelet mounts one, and changes it under those who have it.
struct Mounted {
    dir: PathBuf,
    good: Vec<(&'static str, String)>,
}

impl Mounted {
    fn on(member: &Member) -> Result<Self> {
        let joined = joined(member)?;
        let good = vec![
            ("api-server", joined.api_server.clone()),
            ("service-account", joined.account.display().to_string()),
            ("cni-bin-dir", joined.bin_dir.display().to_string()),
            ("cni-conf-dir", joined.conf_dir.display().to_string()),
        ];
        let mounted = Self { dir: member.node().dir().join("config"), good };
        fs::create_dir(&mounted.dir)?;
        mounted.change(&[])?;
        Ok(mounted)
    }

    /// The good settings and these; all at once, as the kubelet does it.
    fn change(&self, further: &[(&str, &str)]) -> Result<()> {
        let [next, data] = ["..next", "..data"].map(|name| self.dir.join(name));
        let hidden = |name: &String| name.starts_with("..");
        let version = format!("..{}", self.names()?.iter().filter(|name| hidden(name)).count());
        fs::create_dir(self.dir.join(&version))?;
        let good = self.good.iter().map(|(key, text)| (*key, text.as_str()));
        let mut keys = Vec::new();
        for (key, text) in good.chain(further.iter().copied()) {
            fs::write(self.dir.join(&version).join(key), text)?;
            keys.push(key);
        }
        symlink(version, &next)?;
        fs::rename(next, data)?;
        for name in self.names()?.iter().filter(|name| !hidden(name) && !keys.contains(&name.as_str())) {
            fs::remove_file(self.dir.join(name))?;
        }
        for key in keys {
            if !self.dir.join(key).exists() {
                symlink(Path::new("..data").join(key), self.dir.join(key))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// `weft-agent` as the manifest starts it.
    fn command(&self, member: &Member, verb: &[&str]) -> Result<Command> {
        let node = member.node();
        let mut command = node.bare_agent_command()?;
        command.env("WEFT_NODE_NAME", &node.settings().node_name).args(verb).args(node.dir_flags());
        command.arg(format!("--config-dir={}", self.dir.display()));
        Ok(command)
    }
}

/// Settings that are wrong, and what is said of them.
type Mistake = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const MISTAKES: [Mistake; 5] = [
    (&[("mtuu", "1400")], &["\"mtuu\"", "\"mtu\""]),
    (&[("mtu", "large")], &["mtu", "'large'"]),
    (&[("direct-node-routes", "true")], &["direct-node-routes", "routing = native"]),
    (&[("routing", "native"), ("vni", "7")], &["vni", "routing = native", "leave vni out"]),
    (&[("peers", "/etc/peers.toml")], &["peers", "standalone", "leave peers out"]),
];

#[test]
fn a_mistake_is_told_in_a_line_and_the_old_agent_serves_on() -> Result<()> {
    let layout = Layout::new(Routing::Overlay, Attach::preferred()).nodes(1);
    let cluster = Cluster::lay(&Site::of_tests()?, layout)?;
    let member = cluster.member(1);
    let (node, mounted) = (member.node(), Mounted::on(member)?);
    node.start_agent_as(&mut mounted.command(member, &[])?)?;
    let (a, b) = (cluster.pod(member, "shop", "a")?, cluster.pod(member, "shop", "b")?);
    let steady = Steady::start(a.netns(), b.address(Family::V4)?, Duration::from_millis(5))?;
    for (mistake, parts) in MISTAKES {
        mounted.change(mistake)?;
        // What runs has its settings, and what starts ends: the init container, and an agent whose init was before.
        for verb in [&["init"][..], &[]] {
            let mut command = mounted.command(member, verb)?;
            let ended = node.netns().enter(|| exec::output(&mut command, &[]))??;
            let told = ended.complaint();
            ensure!(ended.status.code() == Some(2) && told.lines().count() == 1, "{mistake:?}: {told}");
            ensure!(parts.iter().all(|part| told.contains(part)), "{mistake:?}: {told}");
        }
        ensure!(node.api("GET", "/v1/status", None)?.json["ready"] == true, "{mistake:?}: the old agent noticed");
        let pod = cluster.run_pod(member, "shop", "c")?;
        ping::must_reach(pod.netns(), b.address(Family::V6)?)?;
        pod.del(node)?;
    }

    // The node where the rollout began: without an agent until the mistake is mended, and its pods do not notice.
    node.stop_agent(Signal::SIGTERM)?;
    node.launch(&mut mounted.command(member, &[])?)?;
    let (status, log) = node.agent_end()?;
    ensure!(status.code() == Some(2), "{status}: {log}");
    conflist(member).context("the network's configuration has gone")?;
    mounted.change(&[("mtu", "1400")])?;
    node.start_agent_as(&mut mounted.command(member, &[])?)?;
    a.check(node)?;
    let report = steady.stop()?;
    ensure!(report.sent > 50 && report.lost() == 0, "{} of {} lost", report.lost(), report.sent);
    Ok(())
}
