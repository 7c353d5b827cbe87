//! One name and one directory for everything that a process puts on the machine, and its removal by that name.
//!
//! A site `weft-t-4711` owns the directory of that name, every namespace whose name begins with it, every mount
//! below its directory and every process noted in it. Nothing else is touched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use crate::{cgroup, daemon, need, netns};

/// What tests' sites are called, before the number of the process.
const TESTS: &str = "weft-t-";

/// The live sites of this process, for the signal handler, and the tests' shared one.
static LIVE: Mutex<Vec<Weak<Site>>> = Mutex::new(Vec::new());

/// Set once a signal has come: nothing new is made from then on.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Returns unless a signal has come: then the caller stays here until the process has been tidied up and ended.
pub fn yield_to_signal() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// A process's place on the machine; removed with everything in it when the last user drops it.
#[derive(Debug)]
pub struct Site {
    name: String,
    dir: PathBuf,
    serial: AtomicU32,
    kept: AtomicBool,
    /// Held while the owner lives: a site that can be locked is stale.
    _lock: Flock<File>,
}

impl Site {
    /// The site that all tests of this process share. Removes those of test processes that died.
    pub fn of_tests() -> Result<Arc<Self>> {
        let name = format!("{TESTS}{}", process::id());
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mut live = live();
            if let Some(site) = live.iter().filter_map(Weak::upgrade).find(|site| site.name == name) {
                return Ok(site);
            }
            sweep(TESTS)?;
            match Self::register(&name, &mut live) {
                // Its last user may be taking it down right now.
                Err(_) if Instant::now() < until => {}
                made => return made,
            }
            drop(live);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A site of this name, after removing what a dead process left under it.
    pub fn open(name: &str) -> Result<Arc<Self>> {
        Self::register(name, &mut live())
    }

    fn register(name: &str, live: &mut Vec<Weak<Self>>) -> Result<Arc<Self>> {
        need::root()?;
        let dir = directory(name);
        let _guard = door()?;
        let lock = take(&dir)?.with_context(|| format!("{name} is in use by another process"))?;
        demolish(name);
        fs::create_dir_all(dir.join("pids")).with_context(|| format!("create {}", dir.display()))?;
        // The directory was removed and made again: the lock that others see is a new file.
        drop(lock);
        let lock = take(&dir)?.with_context(|| format!("{name} is in use by another process"))?;
        on_signal()?;
        let serial = AtomicU32::new(0);
        let site = Arc::new(Self { name: name.to_owned(), dir, serial, kept: AtomicBool::new(false), _lock: lock });
        live.retain(|site| site.strong_count() > 0);
        live.push(Arc::downgrade(&site));
        Ok(site)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its name, the beginning of all names in it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A name that nothing else has: `weft-t-4711-n3` for the kind `n`.
    pub fn unique(&self, kind: &str) -> String {
        format!("{}-{kind}{}", self.name, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// Leaves everything where it is, for a later [`demolish`].
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            // Behind the door: the next test of this process may be making the same site anew.
            let _guard = door();
            demolish(&self.name);
        }
    }
}

/// Where a site of this name is.
pub fn directory(name: &str) -> PathBuf {
    env::temp_dir().join(name)
}

/// Removes everything of a site: processes, namespaces, mounts, files.
pub fn demolish(name: &str) {
    let dir = directory(name);
    daemon::kill_noted(&dir.join("pids"));
    for entry in fs::read_dir(netns::NAMES).into_iter().flatten().flatten() {
        let belongs = entry.file_name().to_str().is_some_and(|file| is_part(file, name));
        if belongs {
            netns::remove(&entry.path());
        }
    }
    cgroup::demolish(name);
    for mount in mounts_below(&dir) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(&dir);
}

/// Demolishes every live site of this process: for signals, and for a panic that aborts.
pub fn demolish_all() {
    let sites: Vec<String> = live().iter().filter_map(Weak::upgrade).map(|site| site.name.clone()).collect();
    for name in sites {
        demolish(&name);
    }
}

/// Whether a name is the site's own or one that [`Site::unique`] made.
pub(crate) fn is_part(file: &str, site: &str) -> bool {
    file.strip_prefix(site).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Mount points below a directory, the deepest first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(dir))
        .collect();
    mounts.reverse();
    mounts
}

/// Removes the sites of dead processes.
fn sweep(prefix: &str) -> Result<()> {
    let _guard = door()?;
    for entry in fs::read_dir(env::temp_dir()).context("list the temporary directory")?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
        if take(&entry.path()).is_ok_and(|lock| lock.is_some()) {
            demolish(name);
        }
    }
    Ok(())
}

/// Locks a site's directory; `None` when its owner lives.
fn take(dir: &Path) -> Result<Option<Flock<File>>> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let owner = dir.join("owner");
    let file = lock_file(&owner)?;
    Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())
}

/// Only one process at a time makes or sweeps sites.
fn door() -> Result<Flock<File>> {
    let file = lock_file(&env::temp_dir().join("weft-sites.lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("lock the list of sites")
}

fn lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn live() -> MutexGuard<'static, Vec<Weak<Site>>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_signal() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = ctrlc::set_handler(|| {
            INTERRUPTED.store(true, Ordering::SeqCst);
            demolish_all();
            // What was being made when the signal came may have been missed.
            thread::sleep(Duration::from_millis(50));
            demolish_all();
            // Without stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "\ninterrupted: everything of this run has been removed");
            process::exit(130);
        });
    });
    result.context("watch for signals")
}
