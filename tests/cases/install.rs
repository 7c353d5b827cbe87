//! What the agent puts onto its node for the container runtime, and what it takes back.
#[path = "install_back.rs"]
mod back;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use weft_tests::node::{GRANTED, Node, Settings};
use weft_tests::pod::Pod;
use weft_tests::runtime::Network;
use weft_tests::{exec, need, wait};

/// How long after it was touched a file may be as it should not be: the agent looks at once, and twice a second, but
/// brings what it writes to the disk before anybody sees it, and that takes a second by itself on a disk that builds use.
const SOON: Duration = Duration::from_secs(5);

/// What is there where nobody has installed a plugin.
const PLUGINS: [&str; 2] = ["loopback", "weft-cni"];

/// A node whose agent serves a container runtime.
struct Served {
    node: Node,
    bin: PathBuf,
    conf: PathBuf,
}

impl Served {
    fn new() -> Result<Self> {
        Self::with(Settings::new(None))
    }

    fn with(settings: Settings) -> Result<Self> {
        let node = Node::without_agent(settings)?;
        let (bin, conf) = (node.dir().join("opt/cni/bin"), node.dir().join("etc/cni/net.d"));
        Ok(Self { node, bin, conf })
    }

    fn started() -> Result<Self> {
        let served = Self::new()?;
        served.node.start_agent_as(&mut served.command()?)?;
        served.wait_for(|served| served.conflist().exists())?;
        ensure!(served.plugin().exists(), "there is a network before its plugin");
        Ok(served)
    }

    fn dirs(&self) -> [String; 2] {
        [format!("--cni-bin-dir={}", self.bin.display()), format!("--cni-conf-dir={}", self.conf.display())]
    }

    fn command(&self) -> Result<Command> {
        let mut command = self.node.agent_command()?;
        command.args(self.node.dir_flags()).args(self.dirs());
        Ok(command)
    }

    fn conflist(&self) -> PathBuf {
        self.conf.join("05-weft.conflist")
    }

    fn plugin(&self) -> PathBuf {
        self.bin.join("weft-cni")
    }

    fn wait_for(&self, mut good: impl FnMut(&Self) -> bool) -> Result<Duration> {
        let begun = Instant::now();
        while !good(self) {
            ensure!(begun.elapsed() < wait::patience(SOON), "not within {SOON:?}:\n{}", self.node.agent_log());
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(begun.elapsed())
    }

    fn problems(&self) -> Result<String> {
        Ok(self.node.weft_json(&["status"])?["problems"].to_string())
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.sort();
    Ok(names)
}

#[test]
fn a_runtime_joins_a_pod_by_what_the_agent_wrote() -> Result<()> {
    let served = Served::started()?;
    assert_eq!(names(&served.bin)?, PLUGINS);
    assert_eq!(names(&served.conf)?, ["05-weft.conflist"]);
    assert_eq!(fs::metadata(served.plugin())?.permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(served.conflist())?.permissions().mode() & 0o777, 0o644);
    let conflist: Value = serde_json::from_slice(&fs::read(served.conflist())?)?;
    let plugins = conflist["plugins"].as_array().context("no plugins")?.clone();
    let network = Network { path: vec![served.bin.clone()], ..Network::of(plugins) };
    let pod = Pod::attach(&served.node, &network)?;
    pod.check(&served.node)?;
    pod.del(&served.node)?;
    assert_eq!(served.problems()?, "[]");
    Ok(())
}

#[test]
fn what_somebody_takes_away_or_alters_comes_back() -> Result<()> {
    let served = Served::started()?;
    let text = fs::read(served.conflist())?;
    let plugin = fs::read(served.plugin())?;
    let whole = |served: &Served| {
        fs::read(served.conflist()).is_ok_and(|found| found == text)
            && fs::read(served.plugin()).is_ok_and(|found| found == plugin)
    };
    fs::remove_file(served.conflist())?;
    served.wait_for(whole).context("a conflist that was removed")?;
    fs::write(served.conflist(), "{}")?;
    served.wait_for(whole).context("a conflist that was altered")?;
    fs::rename(served.conflist(), served.conf.join("05-weft.conflist.bak"))?;
    served.wait_for(whole).context("a conflist that was renamed")?;
    fs::write(served.bin.join("draft"), "an older plugin")?;
    fs::rename(served.bin.join("draft"), served.plugin())?;
    served.wait_for(whole).context("a plugin that was replaced by an older one")?;
    fs::set_permissions(served.plugin(), fs::Permissions::from_mode(0o600))?;
    served.wait_for(|served| fs::metadata(served.plugin()).is_ok_and(|found| found.mode() & 0o777 == 0o755))?;
    // At once: the agent would fill it again while it is being emptied.
    fs::rename(&served.conf, served.node.dir().join("removed"))?;
    served.wait_for(whole).context("a directory that was removed")?;
    fs::rename(&served.bin, served.node.dir().join("elsewhere"))?;
    fs::create_dir(&served.bin)?;
    served.wait_for(whole).context("a directory that was replaced")?;
    served.wait_for(|served| names(&served.bin).is_ok_and(|names| names == PLUGINS))?;
    Ok(())
}

#[test]
fn files_are_never_seen_half_written() -> Result<()> {
    let served = Served::started()?;
    let text = fs::read_to_string(served.conflist())?;
    let plugin = fs::read(served.plugin())?;
    for _ in 0..5 {
        fs::remove_file(served.conflist())?;
        fs::remove_file(served.plugin())?;
        served.wait_for(|served| {
            // Whoever finds one finds it whole.
            let found = fs::read_to_string(served.conflist()).ok();
            assert!(found.as_ref().is_none_or(|found| *found == text), "{found:?}");
            assert!(fs::read(served.plugin()).ok().is_none_or(|found| found == plugin), "a part of the plugin");
            let read = |name: &String| {
                [".conf", ".conflist", ".json"].iter().any(|read| name.ends_with(read)) && name != "05-weft.conflist"
            };
            assert!(!names(&served.conf).unwrap_or_default().iter().any(read));
            found.is_some() && served.plugin().exists()
        })?;
    }
    Ok(())
}

#[test]
fn the_files_stay_when_the_agent_stops_or_is_killed() -> Result<()> {
    let served = Served::started()?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let before = fs::metadata(served.conflist())?.ino();
        served.node.stop_agent(signal)?;
        assert!(served.conflist().exists() && served.plugin().exists());
        fs::write(served.conf.join(".05-weft.conflist.new"), "half of it")?;
        fs::write(served.bin.join(".weft-cni.new"), "half of it")?;
        served.node.start_agent_as(&mut served.command()?)?;
        served.wait_for(|served| names(&served.bin).is_ok_and(|names| names == PLUGINS))?;
        served.wait_for(|served| names(&served.conf).is_ok_and(|names| names == ["05-weft.conflist"]))?;
        assert_eq!(fs::metadata(served.conflist())?.ino(), before, "what is right was written again");
    }
    Ok(())
}

#[test]
fn an_agent_that_does_not_serve_writes_no_network() -> Result<()> {
    let served = Served::new()?;
    let mut command = served.command()?;
    // Its device's name is taken, so the start fails.
    exec::tool_in(served.node.netns(), "ip", &["link", "add", "weft0", "type", "veth", "peer", "name", "other0"])?;
    served.node.launch(&mut command)?;
    let (status, log) = served.node.agent_end()?;
    ensure!(!status.success() && log.contains("weft0"), "{status}: {log}");
    assert!(!served.conflist().exists(), "there is a network without an agent that ever served");
    Ok(())
}

#[test]
fn another_network_that_comes_first_is_named() -> Result<()> {
    let served = Served::started()?;
    let rival = served.conf.join("00-other.conflist");
    fs::write(&rival, r#"{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"bridge"}]}"#)?;
    fs::write(served.conf.join("00-notes.txt"), "no network")?;
    let told = |served: &Served, part: &str| served.problems().is_ok_and(|problems| problems.contains(part));
    served.wait_for(|served| told(served, "00-other.conflist sorts before 05-weft.conflist"))?;
    assert!(!told(&served, "notes") && told(&served, "remove it"), "{}", served.problems()?);
    fs::rename(&rival, served.conf.join("10-other.conflist"))?;
    served.wait_for(|served| served.problems().is_ok_and(|problems| problems == "[]"))?;
    fs::write(served.conf.join("01-broken.conf"), "no json")?;
    served.wait_for(|served| told(served, "01-broken.conf is no network configuration"))?;
    Ok(())
}

#[test]
fn directories_that_cannot_be_written_are_named() -> Result<()> {
    let served = Served::new()?;
    fs::create_dir_all(served.bin.parent().context("a parent")?)?;
    fs::write(&served.bin, "a file in the way")?;
    served.node.start_agent_as(&mut served.command()?)?;
    served.wait_for(|served| served.problems().is_ok_and(|problems| problems.contains("opt/cni/bin/weft-cni")))?;
    assert!(!served.conflist().exists(), "a network without its plugin");
    fs::remove_file(&served.bin)?;
    served.wait_for(|served| served.conflist().exists() && served.problems().is_ok_and(|problems| problems == "[]"))?;
    Ok(())
}

#[test]
fn a_directory_of_another_user_gets_its_plugin_by_init() -> Result<()> {
    let served = Served::with(Settings::new(None).capabilities(&GRANTED))?;
    fs::create_dir_all(&served.bin)?;
    chown(&served.bin, Some(1001), Some(1001))?;
    served.node.start_agent_as(&mut served.command()?)?;
    served.wait_for(|served| served.problems().is_ok_and(|problems| problems.contains("CAP_DAC_OVERRIDE")))?;
    assert!(!served.conflist().exists(), "a network without its plugin");
    served.node.stop_agent(Signal::SIGTERM)?;

    // The init container has all of root's rights.
    fs::write(served.plugin(), "an older plugin")?;
    let mut init = Command::new(need::binary("weft-agent")?);
    init.args(served.node.settings().flags()).args(served.node.dir_flags()).args(served.dirs()).arg("init");
    let done = exec::output(init.env_clear(), &[])?;
    ensure!(done.status.success(), "{}", done.complaint());
    assert_eq!(fs::read(served.plugin())?, fs::read(need::binary("weft-cni")?)?);
    assert_eq!(names(&served.bin)?, PLUGINS);
    served.node.start_agent_as(&mut served.command()?)?;
    served.wait_for(|served| served.conflist().exists())?;
    assert_eq!(served.problems()?, "[]");

    let mut preflight = served.command()?;
    let told = served.node.netns().enter(|| exec::output(preflight.args(["preflight", "-o", "json"]), &[]))??;
    let told: Value = serde_json::from_slice(&told.stdout)?;
    let checks = told["checks"].as_array().context("no checks")?;
    let directory = checks.iter().find(|check| check["what"] == "plugin directory").context("nothing of it")?;
    assert_eq!(directory["verdict"], "ok", "{directory}");
    Ok(())
}

#[test]
fn a_config_map_configures_the_agent() -> Result<()> {
    let served = Served::new()?;
    let map = served.node.dir().join("config");
    fs::create_dir(&map)?;
    for (key, text) in [
        ("standalone", "true"),
        ("pod-cidr", "10.244.0.0/24,fd00:10:244::/64"),
        ("cni-bin-dir", &served.bin.display().to_string()),
        ("cni-conf-dir", &served.conf.display().to_string()),
        ("vni", ""),
    ] {
        fs::write(map.join(key), text)?;
    }
    let command = || -> Result<Command> {
        let mut command = served.node.bare_agent_command()?;
        command.arg(format!("--config-dir={}", map.display())).args(served.node.dir_flags());
        Ok(command)
    };
    served.node.start_agent_as(&mut command()?)?;
    served.wait_for(|served| served.conflist().exists())?;
    served.node.stop_agent(Signal::SIGTERM)?;
    for (key, text, parts) in [
        ("rooting", "native", ["\"rooting\"", "\"routing\""]),
        ("mtu", "large", ["mtu", "'large'"]),
        ("direct-node-routes", "true", ["direct-node-routes", "routing = native"]),
    ] {
        fs::write(map.join(key), text)?;
        served.node.launch(&mut command()?)?;
        let (status, _) = served.node.agent_end()?;
        assert_eq!(status.code(), Some(2), "{key}");
        let log = served.node.agent_log();
        let line = log.lines().last().unwrap_or_default();
        assert!(parts.iter().all(|part| line.contains(part)), "{key}: {line}");
        fs::remove_file(map.join(key))?;
    }
    Ok(())
}

#[test]
fn sysctls_are_set_below_the_directory_that_was_named() -> Result<()> {
    let served = Served::new()?;
    let mut command = Command::new(need::tool("unshare")?);
    // As in a container: /proc/sys is read-only, and the node's is writable elsewhere.
    let proc = served.node.dir().join("proc");
    let script = format!(
        "mkdir -p {proc}/sys/net; mount --bind /proc/sys/net {proc}/sys/net; mount --bind /proc/sys /proc/sys; \
         mount -o remount,bind,ro /proc/sys; exec \"$0\" \"$@\"",
        proc = proc.display()
    );
    let agent = served.command()?;
    command.args(["--mount", "sh", "-euc", &script]).arg(agent.get_program()).args(agent.get_args());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    served.node.launch(&mut command)?;
    let (status, log) = served.node.agent_end()?;
    ensure!(!status.success() && log.contains("proc-dir"), "{status}: {log}");
    command.arg(format!("--proc-dir={}", proc.display()));
    served.node.start_agent_as(&mut command)?;
    let forwarding = served.node.netns().enter(|| fs::read_to_string("/proc/sys/net/ipv4/ip_forward"))??;
    assert_eq!(forwarding.trim(), "1");
    Ok(())
}
