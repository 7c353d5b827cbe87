//! Releases that wait for the agent: what DEL leaves behind when the agent is away.
//!
//! One file per attachment in `spool/` of the run directory, written atomically. The agent empties it at its start.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::api::AttachmentKey;
use crate::link::host_ifname;

/// An attachment that was removed while the agent was away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Which attachment.
    pub key: AttachmentKey,
    /// The boot it happened in (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// `CLOCK_BOOTTIME` of the removal, in nanoseconds.
    pub released_ns: u64,
}

/// The spool could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A system call failed.
    #[error("{call} {} failed", path.display())]
    Io {
        /// Which one.
        call: &'static str,
        /// What it was called with.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no release.
    #[error("{} holds no release", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The release could not be written as JSON.
    #[error("a release could not be encoded")]
    Encode(#[from] serde_json::Error),
    /// The kernel has no such clock.
    #[error("reading CLOCK_BOOTTIME failed")]
    Clock(#[source] io::Error),
}

/// The spool of one agent.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
}

impl Release {
    /// Releases the attachment now, in this boot.
    ///
    /// # Errors
    /// Boot id or clock cannot be read.
    pub fn now(key: AttachmentKey) -> Result<Self, SpoolError> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let boot = fs::read_to_string(BOOT_ID).map_err(failed("read", Path::new(BOOT_ID)))?.trim_end().to_owned();
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| SpoolError::Clock(errno.into()))?;
        let released_ns = u64::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { key, boot, released_ns })
    }

    /// Whether it is about the attachment that was recorded in `boot` at `created_ns` of `CLOCK_BOOTTIME`, and
    /// not about an older one of the same key.
    pub fn concerns(&self, boot: &str, created_ns: u64) -> bool {
        self.boot == boot && self.released_ns >= created_ns
    }
}

impl Spool {
    /// The spool of the agent with this run directory.
    pub fn new(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("spool") }
    }

    /// Leaves a release behind; an earlier one of the same attachment is replaced.
    ///
    /// # Errors
    /// The file cannot be written: the release is not on record then.
    pub fn add(&self, release: &Release) -> Result<(), SpoolError> {
        let text = serde_json::to_vec(release)?;
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("mkdir", &self.dir)(error));
            }
            _ => {}
        }
        let path = self.path(&release.key);
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = fs::write(&draft, text).map_err(failed("write", &draft));
        let renamed = written.and_then(|()| fs::rename(&draft, &path).map_err(failed("rename", &path)));
        if renamed.is_err() {
            // Half a file must not stay; the first error is the one to tell.
            let _ = fs::remove_file(&draft);
        }
        renamed
    }

    /// Every release, and an error for each file that holds none; nothing when there is no spool yet.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Result<Release, SpoolError>>, SpoolError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("readdir", &self.dir))?,
        };
        let mut releases = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed("readdir", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                releases.push(read(path));
            }
        }
        Ok(releases)
    }

    /// Forgets the release of an attachment; one that is not there is no error.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, key: &AttachmentKey) -> Result<(), SpoolError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("unlink", &path)(error)),
            _ => Ok(()),
        }
    }

    /// A container's id may be longer than a file's name; the host end's name is short and as unique.
    fn path(&self, key: &AttachmentKey) -> PathBuf {
        self.dir.join(host_ifname(key)).with_extension("json")
    }
}

fn read(path: PathBuf) -> Result<Release, SpoolError> {
    let text = fs::read(&path).map_err(failed("read", &path))?;
    serde_json::from_slice(&text).map_err(|source| SpoolError::Decode { path, source })
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    move |source| SpoolError::Io { call, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn key(container_id: &str) -> AttachmentKey {
        AttachmentKey { container_id: container_id.into(), ifname: "eth0".into() }
    }

    fn listed(spool: &Spool) -> Vec<Release> {
        spool.list().unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn a_release_comes_back_until_it_is_removed() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::new(dir.path());
        assert_eq!(listed(&spool), []);
        let release = Release::now(key(&"f".repeat(300))).unwrap();
        spool.add(&release).unwrap();
        let newer = Release { released_ns: release.released_ns + 1, ..release };
        spool.add(&newer).unwrap();
        assert_eq!(listed(&spool).first(), Some(&newer));
        assert_eq!(listed(&spool).len(), 1);
        spool.remove(&newer.key).unwrap();
        spool.remove(&newer.key).unwrap();
        assert_eq!(listed(&spool), []);
    }

    #[test]
    fn an_older_release_does_not_concern_a_newer_attachment() {
        let release = Release::now(key("a")).unwrap();
        assert!(release.concerns(&release.boot, release.released_ns - 1));
        assert!(!release.concerns(&release.boot, release.released_ns + 1));
        assert!(!release.concerns("another boot", 0));
    }

    #[test]
    fn a_file_that_holds_no_release_is_named_and_hides_no_other() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::new(dir.path());
        spool.add(&Release::now(key("a")).unwrap()).unwrap();
        fs::write(dir.path().join("spool/broken.json"), "{").unwrap();
        fs::write(dir.path().join("spool/weft.1.tmp"), "{").unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = spool.list().unwrap().into_iter().partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (1, 1));
        assert!(bad[0].as_ref().unwrap_err().to_string().contains("broken.json"));
    }

    #[test]
    fn a_run_directory_that_is_gone_is_an_error() {
        let dir = TempDir::new().unwrap();
        let error = Spool::new(&dir.path().join("gone")).add(&Release::now(key("a")).unwrap()).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
