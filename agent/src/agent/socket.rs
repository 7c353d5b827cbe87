//! The socket's file.

use std::fs;
use std::io;

use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;

use crate::run_dir::RunDir;

use super::StartError;

/// Binds under another name first: whoever finds the socket finds it listening, and for root alone.
pub(super) fn listen(run_dir: &RunDir) -> Result<UnixListener, StartError> {
    let (draft, path) = (run_dir.new_socket(), run_dir.socket());
    let bound = match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            let before = umask(Mode::S_IXUSR | Mode::S_IRWXG | Mode::S_IRWXO);
            let bound = UnixListener::bind(&draft);
            umask(before);
            bound.and_then(|listener| fs::rename(&draft, &path).map(|()| listener))
        }
    };
    bound.map_err(|source| StartError::Socket { path, source })
}
