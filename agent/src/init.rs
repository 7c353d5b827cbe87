//! `weft-agent init`: what has to be there before the agent starts, and takes more rights than the agent has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::config::Config;
use crate::datapath::{self, DatapathError};
use crate::install;

/// The node cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It cannot be told what is mounted.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The directory to mount on cannot be made.
    #[error("cannot make directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot mount a BPF filesystem on {}{}", path.display(), remedy(source))]
    Mount {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => ": grant CAP_SYS_ADMIN, or mount one on the node before",
        Some(Errno::ENODEV) => ": this kernel is built without bpf(2), use one with CONFIG_BPF_SYSCALL=y",
        _ => "",
    }
}

/// Mounts a BPF filesystem on the directory above the agent's BPF directory, unless there is one, and puts the plugin
/// in its place. Everything that was mounted or pinned before stays.
///
/// # Errors
///
/// There is no BPF filesystem, and none can be mounted.
pub fn initialize(config: &Config) -> Result<(), InitError> {
    if let Some(directory) = config.install.as_ref().and_then(|install| install.bin_dir.as_ref()) {
        install::put_plugin(directory);
    }
    mount_bpffs(config)
}

fn mount_bpffs(config: &Config) -> Result<(), InitError> {
    if datapath::on_bpffs(&config.bpf_dir)? {
        log::info!("{} is on a BPF filesystem", config.bpf_dir.display());
        return Ok(());
    }
    let path = config.bpf_dir.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(path).map_err(|source| InitError::Directory { path: path.to_owned(), source })?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    // As systemd does it: for root alone.
    mount(Some("bpffs"), path, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| InitError::Mount { path: path.to_owned(), source: errno.into() })?;
    log::info!("a BPF filesystem is mounted on {}", path.display());
    Ok(())
}
