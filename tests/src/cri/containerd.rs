//! containerd with everything of its own: files, sockets, cgroup, mounts and processes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::client::{Client, Sandbox};
use super::image;
use crate::cgroup::Cgroup;
use crate::daemon::Daemon;
use crate::exec;
use crate::need;
use crate::netns::Netns;
use crate::site::Site;
use crate::wait;

/// A running containerd whose pods join by one network configuration; ends with all its pods when dropped.
#[derive(Debug)]
pub struct Containerd {
    process: Daemon,
    _cgroup: Cgroup,
    dir: PathBuf,
}

/// Moves into the cgroup `$1`, so that it is the root of the namespace that the rest makes.
const JOIN: &str = r#"echo 0 > "$1/cgroup.procs"; shift; exec "$@""#;

/// Gives the mount namespace a `/run`, a `/var/lib` and a cgroup hierarchy of its own and runs containerd, anew
/// whenever it ends, as a service manager does: shims and pods are this shell's, and stay.
///
/// Results of plugins are cached below `/var/lib`. Only the unified hierarchy: runc and containerd take it
/// alone when it is at `/sys/fs/cgroup`.
const BECOME: &str = r#"
    mount -t tmpfs tmpfs /run
    mkdir /run/lib /run/work
    mount -t overlay -o lowerdir=/var/lib,upperdir=/run/lib,workdir=/run/work overlay /var/lib
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir /sys/fs/cgroup/runtime
    echo 0 > /sys/fs/cgroup/runtime/cgroup.procs
    while :; do containerd --config "$1" & echo $! > /run/containerd.pid; wait $! || true; sleep 0.1; done"#;

/// How long containerd may take to answer.
const START: Duration = Duration::from_secs(20);

impl Containerd {
    /// Starts containerd inside a node's network namespace, its files in `dir`, with these plugins and no others.
    pub fn start(site: &Site, netns: &Netns, dir: &Path, conflist: &Value, plugins: &[PathBuf]) -> Result<Self> {
        let (bin, net) = (dir.join("bin"), dir.join("net.d"));
        fs::create_dir_all(&bin).context("make a plugin directory")?;
        fs::create_dir_all(&net).context("make a network directory")?;
        // containerd brings `lo` up by a plugin.
        let loopback = need::reference_plugin("loopback")?;
        for plugin in plugins.iter().chain([&loopback]) {
            symlink(plugin, bin.join(plugin.file_name().context("a plugin has a name")?))
                .context("install a plugin")?;
        }
        fs::write(net.join("05-test.conflist"), conflist.to_string()).context("install the network's configuration")?;
        Self::start_beside(site, netns, dir, &bin, &net)
    }

    /// Starts containerd as an installer leaves it: its plugins and network are whatever comes into two directories.
    pub fn start_beside(site: &Site, netns: &Netns, dir: &Path, bin: &Path, net: &Path) -> Result<Self> {
        for tool in ["containerd", "containerd-shim-runc-v2", "runc", "ctr"] {
            need::tool(tool)?;
        }
        for needed in [dir, bin, net] {
            fs::create_dir_all(needed).with_context(|| format!("make {}", needed.display()))?;
        }
        fs::write(dir.join("config.toml"), config(dir, bin, net)).context("configure containerd")?;
        // One that was killed has left its socket.
        let _ = fs::remove_file(dir.join("containerd.sock"));
        let cgroup = Cgroup::create(site)?;
        let mut command = Command::new(need::tool("sh")?);
        command
            .args(["-euc", JOIN, "sh"])
            .arg(cgroup.path())
            .args(["unshare", "--mount", "--cgroup", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"])
            .args(["sh", "-euc", BECOME, "sh"])
            .arg(dir.join("config.toml"))
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let process = Daemon::spawn(site, netns, &mut command, &dir.join("containerd.log"))?;
        let mut containerd = Self { process, _cgroup: cgroup, dir: dir.to_owned() };
        containerd.import(&image::pause(dir)?)?;
        Ok(containerd)
    }

    /// Ends containerd alone, by this signal; its pods run on. Returns when the next one answers.
    pub fn restart(&self, signal: &str) -> Result<()> {
        let [mounts, pids] = self.namespaces();
        let in_its = |script: &str| exec::tool("nsenter", &[&mounts, &pids, "sh", "-euc", script]);
        let before = in_its("cat /run/containerd.pid")?;
        in_its(&format!("kill -{signal} {}", before.trim()))?;
        wait::until("containerd answers again", START, || {
            Ok(in_its("cat /run/containerd.pid")? != before && self.client()?.conditions().is_ok())
        })
        .with_context(|| self.process.log())
        .map(drop)
    }

    /// A new connection to its CRI socket.
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.socket())
    }

    /// Runs a program of the machine inside a sandbox's network namespace.
    pub fn tool_in(&self, sandbox: &Sandbox, program: &str, args: &[&str]) -> Result<String> {
        // `unshare` is in the mount namespace that it made, where the sandbox's path means something.
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.process.pid());
        let netns = format!("--net={}", sandbox.netns.display());
        exec::tool("nsenter", &[&[&mounts, "nsenter", &netns, program], args].concat())
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// Imports an archive into the CRI's images as soon as containerd answers.
    pub fn import(&mut self, archive: &Path) -> Result<()> {
        let deadline = Instant::now() + START;
        while !self.socket().exists() {
            if let Some(status) = self.process.ended()? {
                bail!("containerd ended at its start ({status}):\n{}", self.process.log());
            }
            ensure!(Instant::now() < deadline, "containerd does not answer after {START:?}:\n{}", self.process.log());
            thread::sleep(Duration::from_millis(2));
        }
        self.ctr(&["images", "import", &archive.to_string_lossy()]).map(drop)
    }

    /// Runs containerd's own client on what the CRI sees, and returns its output.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        // It mounts what it runs where containerd has it, and looks for itself in the /proc of that place.
        let [mounts, pids] = self.namespaces();
        let socket = self.socket();
        let begin = [&mounts, &pids, "ctr", "--address", &socket.to_string_lossy(), "--namespace", "k8s.io"];
        exec::tool("nsenter", &[&begin, args].concat())
    }

    /// Options that lead a program to where containerd is.
    fn namespaces(&self) -> [String; 2] {
        [("mount", "mnt"), ("pid", "pid_for_children")]
            .map(|(option, kind)| format!("--{option}=/proc/{}/ns/{kind}", self.process.pid()))
    }
}

/// State in the private `/run`: it goes with the mount namespace.
fn config(dir: &Path, bin: &Path, net: &Path) -> String {
    let (dir, bin, net) = (dir.display(), bin.display(), net.display());
    format!(
        r#"version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
[grpc]
address = "{dir}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "/run/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
# Pods limit nothing, and controllers may all be with the hierarchies of version 1.
disable_cgroup = true
# Without CAP_SYS_RESOURCE a process cannot lower its own.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin}"
conf_dir = "{net}"
"#,
        pause = image::PAUSE
    )
}
