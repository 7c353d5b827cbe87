//! The pod's network namespace.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::thread;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};

/// An open namespace.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
    path: String,
}

/// `CNI_NETNS` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error("CNI_NETNS {0} does not exist")]
    NotFound(String),
    #[error("CNI_NETNS {path} cannot be opened")]
    Open { path: String, source: io::Error },
    #[error("CNI_NETNS {path} is not a network namespace")]
    NotANamespace { path: String, source: io::Error },
    #[error("CNI_NETNS {path} cannot be entered")]
    Enter { path: String, source: io::Error },
    #[error("CNI_NETNS {0} is the namespace of the node itself: it must be the container's")]
    Own(String),
    #[error("{call} failed")]
    Call { call: &'static str, source: io::Error },
}

impl Netns {
    /// Opens the namespace behind `path`, which must not be the caller's own.
    pub(crate) fn open(path: &str) -> Result<Self, NetnsError> {
        // Without O_NONBLOCK a FIFO of that name would wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let file = opened.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NetnsError::NotFound(path.to_owned()),
            _ => NetnsError::Open { path: path.to_owned(), source },
        })?;
        let there = file.metadata().map_err(|source| NetnsError::Call { call: "fstat", source })?;
        let own = std::fs::metadata("/proc/self/ns/net");
        let own = own.map_err(|source| NetnsError::Call { call: "stat /proc/self/ns/net", source })?;
        if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
            return Err(NetnsError::Own(path.to_owned()));
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Runs `work` in the namespace, on a thread that ends with it: no other code ever runs there.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let inside = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| {
                let (path, source) = (self.path.clone(), io::Error::from(errno));
                match source.kind() {
                    io::ErrorKind::InvalidInput => NetnsError::NotANamespace { path, source },
                    _ => NetnsError::Enter { path, source },
                }
            })?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, inside);
            let thread = thread.map_err(|source| NetnsError::Call { call: "clone", source })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_path_that_is_gone_is_another_error_than_one_that_is_no_namespace() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert!(matches!(Netns::open(&path("gone")), Err(NetnsError::NotFound(_))));
        std::fs::write(path("file"), "").unwrap();
        let plain = Netns::open(&path("file")).unwrap().enter(|| ()).unwrap_err();
        // Without privilege the kernel does not get as far as to look at the file.
        assert!(matches!(plain, NetnsError::NotANamespace { .. } | NetnsError::Enter { .. }), "{plain:?}");
        assert!(plain.to_string().starts_with("CNI_NETNS "), "{plain}");
        assert!(matches!(Netns::open(&path("file/below")), Err(NetnsError::NotFound(_))));
    }

    #[test]
    fn a_fifo_does_not_hold_us_up() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR).unwrap();
        let plain = Netns::open(path.to_str().unwrap()).unwrap();
        assert!(plain.enter(|| ()).is_err());
    }

    #[test]
    fn the_nodes_own_namespace_is_refused() {
        assert!(matches!(Netns::open("/proc/self/ns/net"), Err(NetnsError::Own(_))));
    }
}
