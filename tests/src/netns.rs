//! Named network namespaces, entered only on disposable threads.

use std::fs::{self, File};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::cgroup::Cgroup;
use crate::{exec, site};

/// Where `ip netns` keeps its names.
pub const NAMES: &str = "/run/netns";

/// A network namespace with a name that `ip netns exec` understands; gone when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    file: File,
    cgroup: Option<Arc<Cgroup>>,
}

impl Netns {
    /// Makes a namespace in which nothing is up, not even `lo`.
    pub fn create(name: &str) -> Result<Self> {
        site::yield_to_signal();
        let path = Path::new(NAMES).join(name);
        fs::create_dir_all(NAMES).with_context(|| format!("create {NAMES}"))?;
        File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("mount the namespace at {}", path.display()))
        });
        if let Err(error) = made {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { name: name.to_owned(), path, file, cgroup: None })
    }

    /// Makes a namespace with `lo` up.
    pub fn with_loopback(name: &str) -> Result<Self> {
        let netns = Self::create(name)?;
        exec::ip_batch(&netns, &["link set lo up"])?;
        Ok(netns)
    }

    /// The same, with everything that is run in it in a cgroup as well.
    #[must_use]
    pub(crate) fn in_cgroup(mut self, cgroup: Option<Arc<Cgroup>>) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// The cgroup of what is run in it.
    pub fn cgroup(&self) -> Option<&Arc<Cgroup>> {
        self.cgroup.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that a runtime hands to a plugin as `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a closure, and whatever processes and sockets it starts, inside the namespace.
    pub fn enter<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(|| {
            if let Some(cgroup) = &self.cgroup {
                cgroup.join()?;
            }
            setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", self.name))?;
            Ok(job())
        })
    }

    /// Removes the name now, as a runtime does before a late DEL; the namespace lives while someone is in it.
    pub fn remove_name(&self) {
        remove(&self.path);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        self.remove_name();
    }
}

/// Removes a namespace's name; what is gone already is fine.
pub fn remove(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// A namespace belongs to a thread: this one ends with the job, so no other job can inherit it.
fn on_thread<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(job).join().unwrap_or_else(|panic| resume_unwind(panic)))
}
