//! `weft-agent cleanup`: takes down what an agent leaves running when it stops.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::CleanupConfig;
use crate::datapath;
use crate::endpoint::{Record, Store};
use crate::install;
use crate::k8s;
use crate::node::{Expedite, Node};
use crate::run_dir::{RunDir, RunDirError, remedy};
use crate::text;

/// Not everything could be removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// An agent runs on the directory, or the directory cannot be used.
    #[error("{}; with --force it is cleaned up all the same", text::chain(.0))]
    Locked(RunDirError),
    /// Some steps failed; the others were done.
    #[error("not everything could be removed: {}; mend that and run cleanup again", .0.join("; "))]
    Left(Vec<String>),
}

/// Removes every link, map, route, device and file of the agent that used these directories; nothing else. Goes on
/// past errors.
///
/// # Errors
///
/// An agent still runs there and `force` is not set, or the list of all that failed.
pub async fn clean_up(config: &CleanupConfig) -> Result<(), CleanupError> {
    let run_dir = RunDir::new(config.run_dir.clone());
    // A directory that is not there has nobody in it, and nothing is made only to be removed.
    let _lock = match run_dir.path().is_dir().then(|| run_dir.lock()).transpose() {
        Ok(lock) => lock,
        Err(_) if config.force => None,
        Err(error) => return Err(CleanupError::Locked(error)),
    };
    // First of all, so that nobody is told to use what goes away below.
    let mut errors: Vec<_> =
        install::remove(&config.install, &run_dir).iter().map(|error| text::chain(error)).collect();
    let expedite = Expedite::new(true, run_dir.path());
    let endpoints: Vec<_> = Store::new(run_dir.attachments()).peek().iter().filter_map(Record::endpoint).collect();
    // The programs go while the devices are there to take them off.
    let left = datapath::cleanup(&config.bpf_dir, &endpoints, &expedite);
    errors.extend(left.iter().map(|error| text::chain(error)));
    match Node::open(run_dir.link_group(), &expedite, Path::new("/proc")) {
        Ok(node) => errors.extend(node.cleanup().await.err().map(|error| text::chain(&error))),
        Err(error) => errors.push(text::chain(&error)),
    }
    // Records last: they tell a second attempt what there is.
    if errors.is_empty() {
        errors.extend(remove_files(&run_dir).iter().map(ToString::to_string));
    }
    // The API server may be away for long, and nothing on the node waits for it.
    if let Some(kubernetes) = &config.kubernetes
        && let Err(error) = k8s::withdraw(kubernetes, &config.node_name).await
    {
        let (name, why) = (&config.node_name, text::chain(&error));
        errors.push(format!("node {name} keeps the condition NetworkUnavailable that weft has set: {why}"));
    }
    if errors.is_empty() { Ok(()) } else { Err(CleanupError::Left(errors)) }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}{}: {source}", path.display(), remedy(source))]
struct FileError {
    path: PathBuf,
    source: io::Error,
}

fn remove_files(run_dir: &RunDir) -> Vec<FileError> {
    let mut errors = Vec::new();
    for dir in [run_dir.attachments(), run_dir.spool()] {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if is_ours(&entry.path()) {
                errors.extend(gone(fs::remove_file(entry.path()), &entry.path()));
            }
        }
        // What others put there stays, and the directory with it.
        let _ = fs::remove_dir(&dir);
    }
    for file in [run_dir.socket(), run_dir.new_socket(), run_dir.rcu_note(), run_dir.node_cache(), run_dir.lock_file()]
    {
        errors.extend(gone(fs::remove_file(&file), &file));
    }
    let _ = fs::remove_dir(run_dir.path());
    errors
}

/// Records and spooled releases, drafts and those set aside: `weft<hash>.json`, `.tmp`, `.json.corrupt`.
fn is_ours(path: &Path) -> bool {
    let suffix = path.extension().is_some_and(|suffix| ["json", "tmp", "corrupt"].iter().any(|ours| suffix == *ours));
    suffix && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"weft"))
}

fn gone(removed: io::Result<()>, path: &Path) -> Option<FileError> {
    let source = removed.err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(FileError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_stay() {
        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(temp.path().join("run"));
        run_dir.create().unwrap();
        drop(run_dir.lock().unwrap());
        for name in ["weft01.json", "weft01.json.corrupt", "weft02.tmp", "notes.txt"] {
            fs::write(run_dir.attachments().join(name), "").unwrap();
        }
        fs::write(run_dir.spool().join("weft03.json"), "").unwrap();
        assert!(remove_files(&run_dir).is_empty());
        assert!(run_dir.attachments().join("notes.txt").exists());
        assert_eq!(fs::read_dir(run_dir.attachments()).unwrap().count(), 1);
        assert!(!run_dir.spool().exists() && !run_dir.lock_file().exists());
        fs::remove_file(run_dir.attachments().join("notes.txt")).unwrap();
        assert!(remove_files(&run_dir).is_empty());
        assert!(!run_dir.path().exists());
    }
}
