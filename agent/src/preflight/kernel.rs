//! The kernel: its age, its way to attach programs, and whether it takes ours.

use std::path::Path;

use crate::capability;
use crate::config::Config;
use crate::datapath::{self, AttachMode, Rehearsal};
use crate::text;

use super::check::Check;

pub(super) fn checks(config: &Config, effective: u64) -> Vec<Check> {
    let (release, supported) = match datapath::kernel() {
        Ok(found) => found,
        Err(error) => return vec![Check::unknown("kernel", "", text::chain(&error))],
    };
    let mut checks = Vec::new();
    if !supported {
        checks.push(Check::missing("kernel", release, "use Linux 5.10 or newer"));
        return checks;
    }
    checks.push(Check::ok("kernel", release.as_str()));
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    checks.push(Check::ok("kernel BTF", if btf { "present" } else { "absent" }).note("weft needs none"));
    if !capability::fatal_lacks(effective).is_empty() {
        checks.push(Check::unknown("programs", "not tried", "loading them takes the capabilities below"));
        return checks;
    }
    checks.push(attaching(config, &release));
    let Rehearsal { devices, sockets } = datapath::rehearse();
    checks.push(match devices {
        Ok(took) => Check::ok("programs", format!("verified in {} ms", took.as_millis())),
        Err(error) => Check::missing("programs", "refused", text::chain(&error)),
    });
    checks.push(own_processes(config, sockets.err().map(|error| text::chain(&error))));
    checks
}

fn attaching(config: &Config, release: &str) -> Check {
    match (datapath::tcx(release), config.attach) {
        (Ok(true), AttachMode::Clsact) => Check::ok("attaching", "TCX, but clsact is asked for"),
        (Ok(true), _) => Check::ok("attaching", "TCX"),
        (Ok(false), AttachMode::Tcx) => {
            Check::missing("attaching", "no TCX", "attach = tcx needs Linux 6.6 or newer: set it to auto")
        }
        (Ok(false), _) => Check::degraded(
            "attaching",
            "clsact",
            "whoever removes the qdisc of a device takes weft's filters with it, until the next round puts them back; \
             TCX needs Linux 6.6",
        ),
        (Err(error), _) => Check::missing("attaching", "unknown", text::chain(&error)),
    }
}

/// How processes of the node reach ports of the node that are pods'.
fn own_processes(config: &Config, refused: Option<String>) -> Check {
    const COST: &str = "processes of the node do not reach host ports by 127.0.0.1 and ::1";
    match (&config.cgroup, refused) {
        (Some(_), Some(why)) => Check::degraded("cgroup programs", "refused", format!("{COST}: {why}")),
        (Some(path), None) => Check::ok("cgroup v2", path.display().to_string()),
        (None, _) => Check::degraded(
            "cgroup v2",
            "not mounted",
            format!("{COST}: mount it with `mount -t cgroup2 cgroup2 /sys/fs/cgroup`, or name it by cgroup"),
        ),
    }
}
