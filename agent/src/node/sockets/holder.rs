//! Whose a socket is: proc(5) knows, for every process that this one may look at.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Who has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process.
    Process {
        /// Its name.
        name: String,
        /// Its number, as this process sees it.
        pid: u32,
    },
    /// A process that cannot be seen from here.
    Unseen {
        /// Number of its user.
        uid: u32,
        /// Inode of the socket, as `ss -e` shows it.
        inode: u32,
    },
    /// No process.
    Kernel,
}

impl Holder {
    /// The first process that has the socket open. Looks at every descriptor of every process: for error messages.
    pub(super) fn of(uid: u32, inode: u32) -> Self {
        if inode == 0 {
            return Self::Kernel;
        }
        let link = format!("socket:[{inode}]");
        let has_it = |pid: &u32| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            descriptors
                .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
                .any(|target| target.as_os_str().as_bytes() == link.as_bytes())
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let found = pids.into_iter().find(has_it).and_then(|pid| {
            // It may be gone by now.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some(Self::Process { name: name.trim_end().to_owned(), pid })
        });
        found.unwrap_or(Self::Unseen { uid, inode })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { name, pid } => write!(f, "{name} (pid {pid})"),
            Self::Unseen { uid, inode } => write!(f, "a process of uid {uid} (socket inode {inode})"),
            Self::Kernel => write!(f, "the kernel"),
        }
    }
}
