//! Control groups of version 2: one for each node, and one for a runtime and everything that it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::site::{self, Site};

/// A cgroup of the v2 hierarchy; removed with all below it when dropped.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a cgroup with a name of the site's, for processes.
    pub(crate) fn create(site: &Site) -> Result<Self> {
        Self::make(hierarchy()?.join(site.unique("c")))
    }

    /// Makes a cgroup of this name that threads of this process can join, each by itself.
    pub(crate) fn threaded(name: &str) -> Result<Self> {
        // Below our own: threads of one process stay below one cgroup.
        let cgroup = Self::make(own()?.join(name))?;
        fs::write(cgroup.0.join("cgroup.type"), "threaded")
            .with_context(|| format!("make {} a cgroup of threads", cgroup.0.display()))?;
        Ok(cgroup)
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("create the cgroup {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves this thread into it, and with it whatever it starts and the sockets that it makes.
    pub(crate) fn join(&self) -> Result<()> {
        let threads = self.0.join("cgroup.threads");
        fs::write(&threads, "0").with_context(|| format!("join {}", self.0.display()))
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

/// The cgroup that this process was started in.
fn own() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").context("read which cgroup this process is in")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).context("this process is in no v2 cgroup")?;
    Ok(hierarchy()?.join(path))
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

/// Removes what is left of a site's cgroups; the kernel keeps those in use.
pub(crate) fn demolish(site: &str) {
    let places = [hierarchy(), own()];
    for entry in places.into_iter().flatten().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| site::is_part(name, site)) {
            // What was in it has been killed, and leaves a moment later.
            let deadline = Instant::now() + Duration::from_secs(1);
            while entry.path().exists() && remove(&entry.path()).is_err() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}
