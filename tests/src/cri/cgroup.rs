//! A cgroup for a runtime and everything that it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::site::{self, Site};

/// A cgroup of the v2 hierarchy; removed with all below it when dropped.
#[derive(Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a cgroup with a name of the site's. Removes those of sites that are gone.
    pub(super) fn create(site: &Site) -> Result<Self> {
        let root = hierarchy()?;
        sweep(&root);
        let path = root.join(site.unique("c"));
        fs::create_dir(&path).with_context(|| format!("create the cgroup {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes leave a moment after they were killed.
        let deadline = Instant::now() + Duration::from_secs(5);
        while remove(&self.0).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Where the v2 hierarchy is mounted: alone, or beside those of version 1.
fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mount table")?;
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount =
        mounts.filter(|fields| fields.get(2) == Some(&"cgroup2")).find_map(|fields| fields.get(1).map(PathBuf::from));
    mount.context("no cgroup v2 hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
}

/// Removes a cgroup, the deepest first; the kernel refuses while processes are in it.
fn remove(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Removes the cgroups of test processes that died; the kernel keeps those in use.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.rsplit_once("-c")).map(|(site, _)| site);
        if owner.is_some_and(|site| site.starts_with("weft-t-") && !site::directory(site).exists()) {
            let _ = remove(&entry.path());
        }
    }
}
