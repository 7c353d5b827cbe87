//! What the process may do: capabilities, and files of the kernel that it writes.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::capability::{self, Lack};
use crate::config::Config;
use crate::datapath;
use crate::text;

use super::check::Check;

pub(super) fn checks(config: &Config, effective: u64) -> Vec<Check> {
    let mut checks = capabilities(effective);
    checks.push(bpffs(config));
    checks.extend(sysctls(config));
    checks.push(grace_periods(config));
    checks
}

fn capabilities(effective: u64) -> Vec<Check> {
    let check = |capability: &capability::Capability| match (capability.is_in(effective), capability.lack) {
        (true, _) => Check::ok(capability.name, "granted"),
        (false, Lack::Stops(what)) => {
            Check::missing(capability.name, "absent", format!("it is for {what}: run as root, or grant it"))
        }
        (false, Lack::Costs(what)) => Check::degraded(capability.name, "absent", what),
        (false, Lack::Spares(what)) => Check::ok(capability.name, "absent").note(what),
    };
    // An old kernel asks for one more.
    let old = datapath::kernel().is_ok_and(|(release, _)| datapath::limits_memory(&release));
    capability::ALL.iter().chain(old.then_some(&capability::RESOURCE)).map(check).collect()
}

fn bpffs(config: &Config) -> Check {
    let path = config.bpf_dir.display().to_string();
    match datapath::on_bpffs(&config.bpf_dir) {
        Ok(true) => Check::ok("BPF filesystem", path),
        Ok(false) => Check::missing(
            "BPF filesystem",
            format!("{path} is not on one"),
            "run `weft-agent init`, or mount one with `mount -t bpf bpffs /sys/fs/bpf`",
        ),
        Err(error) => Check::missing("BPF filesystem", path, text::chain(&error)),
    }
}

/// Each sysctl that the agent sets on this node, unless it is as it should be already.
fn sysctls(config: &Config) -> Vec<Check> {
    let sysctls = config.proc_dir.join("sys/net");
    let v6 = config.pod_cidrs.is_empty() || config.pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv6());
    let mut checks = vec![sysctl(&sysctls, "ipv4/ip_forward", "1")];
    let off = fs::read_to_string(sysctls.join("ipv6/conf/default/disable_ipv6")).ok();
    match off.as_deref().map(str::trim) {
        Some("0") if v6 => checks.push(sysctl(&sysctls, "ipv6/conf/all/forwarding", "1")),
        Some("0") => {}
        found if config.pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv6()) => checks.push(Check::missing(
            "IPv6",
            if found.is_some() { "turned off" } else { "not in this kernel" },
            "turn it on with `sysctl -w net.ipv6.conf.default.disable_ipv6=0`, or leave the IPv6 range out",
        )),
        _ => checks.push(Check::degraded("IPv6", "turned off", "pods get no IPv6 addresses")),
    }
    checks
}

fn sysctl(root: &Path, name: &str, value: &str) -> Check {
    let path = root.join(name);
    let what = format!("net.{}", name.replace('/', "."));
    let found = fs::read_to_string(&path).unwrap_or_default();
    let found = found.trim();
    match (writable(&path), found == value) {
        (Ok(()), _) => Check::ok(what, format!("{found}, writable")),
        (Err(_), true) => Check::ok(what, format!("{found}, read-only")),
        (Err(error), false) => Check::missing(
            what,
            if found.is_empty() { "absent".to_owned() } else { format!("{found}, {error}") },
            format!(
                "set it to {value} on the node, or mount the node's /proc/sys/net writable and name the directory above \
                 its sys by proc-dir (now {})",
                root.display()
            ),
        ),
    }
}

fn grace_periods(config: &Config) -> Check {
    const WHAT: &str = "RCU switch";
    let switch = PathBuf::from("/sys/kernel/rcu_expedited");
    if !config.expedite_rcu {
        return Check::degraded(WHAT, "not used", "attaching a pod takes some 25 ms more: expedite-rcu is false");
    }
    match writable(&switch) {
        Ok(()) => Check::ok(WHAT, format!("{} is writable", switch.display())),
        Err(error) => Check::degraded(
            WHAT,
            format!("{}: {error}", switch.display()),
            "attaching a pod takes some 25 ms more: mount it writable, or set expedite-rcu = false to accept that",
        ),
    }
}

/// Opened, not written.
fn writable(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}
