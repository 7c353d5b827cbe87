//! The run directory: what lies where in it, and the lock that keeps it to one agent.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use weft_cni::link::link_group;

/// Directory of socket, records and spool.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

/// Held as long as this process is the directory's agent; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another process holds the lock.
    #[error("another agent already runs on {} ({holder}): stop it or choose another --run-dir", dir.display())]
    Taken {
        /// The run directory.
        dir: PathBuf,
        /// Who the other agent is.
        holder: Holder,
    },
    /// A file operation failed.
    #[error("cannot {doing} {}{}", path.display(), remedy(source))]
    Io {
        /// What failed.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Who holds a run directory, by what it wrote into the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that this one can name.
    Process {
        /// Its number.
        pid: String,
    },
    /// A process whose number means another one here.
    Elsewhere,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid } => write!(f, "pid {pid}"),
            Self::Elsewhere => f.write_str("in another container"),
        }
    }
}

impl Holder {
    /// A lock file has the holder's number, and the namespace where that is its number: `pid_namespaces(7)`.
    fn parse(text: &str, here: Option<u64>) -> Self {
        let mut words = text.split_whitespace();
        let (pid, there) = (words.next(), words.next().and_then(|word| word.parse::<u64>().ok()));
        match (pid, there, here) {
            (_, Some(there), Some(here)) if there != here => Self::Elsewhere,
            (pid, ..) => Self::Process { pid: pid.unwrap_or("unknown").to_owned() },
        }
    }
}

/// The namespace of this process's number.
fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|found| found.ino())
}

/// What to do about a failed file operation in the run directory, as the tail of a sentence.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (free space on its filesystem)",
        io::ErrorKind::ReadOnlyFilesystem => " (its filesystem is read-only: remount it or choose another --run-dir)",
        io::ErrorKind::PermissionDenied => " (run as root)",
        io::ErrorKind::NotADirectory => " (a file is in the way: choose another --run-dir)",
        _ => "",
    }
}

impl RunDir {
    /// Where it is unless told otherwise.
    pub(crate) const DEFAULT: &str = "/run/weft";
    /// The longest name of a socket in it.
    pub(crate) const LONGEST_SOCKET_NAME: &str = "agent.sock.new";

    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The link group of the agent with this directory, by whatever path: the plugin follows links as well.
    pub(crate) fn link_group(&self) -> u32 {
        link_group(&self.path.canonicalize().unwrap_or_else(|_| self.path.clone()))
    }

    /// Where clients connect.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    /// Where the socket is bound before it takes its place.
    pub(crate) fn new_socket(&self) -> PathBuf {
        self.path.join(Self::LONGEST_SOCKET_NAME)
    }

    /// Records, a file each.
    pub(crate) fn attachments(&self) -> PathBuf {
        self.path.join("attachments")
    }

    /// Removals that plugins left while no agent ran, a file each.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// What `/sys/kernel/rcu_expedited` held before the agent changed it.
    pub(crate) fn rcu_note(&self) -> PathBuf {
        self.path.join("rcu-expedited")
    }

    /// What Kubernetes last said of this node.
    pub(crate) fn node_cache(&self) -> PathBuf {
        self.path.join("node.json")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("agent.lock")
    }

    /// Makes the directories that are missing.
    pub(crate) fn create(&self) -> Result<(), RunDirError> {
        make(&self.path, 0o755)?;
        make(&self.attachments(), 0o700)?;
        make(&self.spool(), 0o700)
    }

    /// Takes the directory for this process.
    pub(crate) fn lock(&self) -> Result<Lock, RunDirError> {
        let path = self.lock_file();
        let failed = |doing| {
            let path = path.clone();
            move |source| RunDirError::Io { doing, path, source }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // A lock without readable pid is a lock all the same.
                let _ = file.take(64).read_to_string(&mut text);
                let holder = Holder::parse(&text, pid_namespace());
                return Err(RunDirError::Taken { dir: self.path.clone(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        file.set_len(0).map_err(failed("write"))?;
        let namespace = pid_namespace().map(|inode| format!(" {inode}")).unwrap_or_default();
        writeln!(file, "{}{namespace}", std::process::id()).map_err(failed("write"))?;
        Ok(Lock { _file: file })
    }
}

/// Writes a file of the agent's own in place of an older one; on failure the older one stands.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written =
        options.open(&draft).and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&draft, path));
    written.inspect_err(|_| {
        // Best effort: the next one takes its place.
        let _ = fs::remove_file(&draft);
    })
}

fn make(path: &Path, mode: u32) -> Result<(), RunDirError> {
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Ok(()) => Ok(()),
        // On a read-only filesystem mkdir(2) may say EROFS for a directory that is there.
        Err(_) if fs::metadata(path).is_ok_and(|found| found.is_dir()) => Ok(()),
        Err(source) => Err(RunDirError::Io { doing: "create directory", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path().join("run"));
        dir.create().unwrap();
        let lock = dir.lock().unwrap();
        let second = dir.lock().unwrap_err().to_string();
        assert!(second.contains(&format!("(pid {})", std::process::id())), "{second}");
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn a_number_of_another_container_is_not_named() {
        let pid = |pid: &str| Holder::Process { pid: pid.to_owned() };
        assert_eq!(Holder::parse("17 4026531836\n", Some(4_026_531_836)), pid("17"));
        assert_eq!(Holder::parse("17 4026531836\n", Some(4_026_532_000)), Holder::Elsewhere);
        // As agents of older versions wrote it.
        assert_eq!(Holder::parse("17\n", Some(4_026_532_000)), pid("17"));
        assert_eq!(Holder::parse("", None), pid("unknown"));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        fs::write(&path, "").unwrap();
        let error = RunDir::new(path.join("run")).create().unwrap_err().to_string();
        assert!(error.contains("file/run") && error.contains("choose another --run-dir"), "{error}");
    }

    #[test]
    fn a_link_to_the_directory_is_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path().canonicalize().unwrap().join("run"));
        dir.create().unwrap();
        let other = temp.path().join("other");
        std::os::unix::fs::symlink(dir.path(), &other).unwrap();
        assert_eq!(RunDir::new(other).link_group(), link_group(dir.path()));
    }
}
