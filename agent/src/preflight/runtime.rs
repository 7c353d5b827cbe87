//! What the container runtime is to find, and what it finds already.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::config::Config;
use crate::install;

use super::check::{Check, Verdict};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![directory("run directory", &config.run_dir, "run-dir")];
    let Some(install) = &config.install else { return checks };
    if let Some(path) = &install.bin_dir {
        checks.push(plugins(path));
        let plugin = install::source();
        checks.push(if plugin.is_file() {
            Check::ok("weft-cni", plugin.display().to_string())
        } else {
            Check::missing("weft-cni", format!("{} is absent", plugin.display()), "put it beside weft-agent")
        });
        checks.push(loopback(path));
    }
    if let Some(path) = &install.conf_dir {
        checks.push(directory("network directory", path, "cni-conf-dir"));
        let rivals = install::rivals(path);
        if rivals.is_empty() {
            checks.push(Check::ok("other networks", "none before ours"));
        }
        checks.extend(rivals.into_iter().map(|rival| Check::degraded("other networks", "one comes first", rival)));
    }
    checks
}

/// Where the plugin is in its place already, `weft-agent init` has put it there, and nothing is to be written.
fn plugins(path: &Path) -> Check {
    const WHAT: &str = "plugin directory";
    match directory(WHAT, path, "cni-bin-dir") {
        Check { verdict: Verdict::Missing, .. } if install::has_plugin(path) => {
            Check::ok(WHAT, format!("{}, read-only, has weft-cni", path.display()))
        }
        check => check,
    }
}

/// Without it containerd starts no pod at all, whatever the network; weft-cni stands in where it can be put.
fn loopback(plugins: &Path) -> Check {
    const WHAT: &str = "loopback plugin";
    let path = plugins.join(install::STAND_IN);
    if path.exists() {
        return Check::ok(WHAT, path.display().to_string());
    }
    if directory(WHAT, plugins, "cni-bin-dir").verdict == Verdict::Ok {
        return Check::ok(WHAT, "absent, weft-cni stands in");
    }
    let remedy = "containerd starts no pod without it: install the package kubernetes-cni, or set \
                  use_internal_loopback = true in containerd 2; CRI-O does without";
    Check::degraded(WHAT, "absent", remedy)
}

/// Whether the directory, or the nearest one above it that exists, can be written.
fn directory(what: &str, path: &Path, setting: &str) -> Check {
    let nearest = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let found = path.display().to_string();
    match access(nearest, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if nearest == path => Check::ok(what, found),
        Ok(()) => Check::ok(what, format!("{found}, to be made")),
        Err(errno) => {
            let remedy = format!("{} cannot be written: mount it writable, or set {setting}", nearest.display());
            Check::missing(what, format!("{found}: {}", errno.desc()), remedy)
        }
    }
}
