//! One file that is kept as it should be: never half written, never seen under a name that anybody reads.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file of the agent's in a directory of the node's.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    name: &'static str,
    content: Content,
    mode: u32,
    /// The file as it was when it was last found right.
    right: Option<Stamp>,
}

/// Where its bytes come from.
#[derive(Debug)]
pub(super) enum Content {
    File(PathBuf),
    Text(String),
}

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

/// A file could not be put in its place.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error("{} cannot be written ({call}){}", path.display(), remedy(source))]
    Write { call: &'static str, path: PathBuf, source: io::Error },
    #[error("{} cannot be read: weft-cni belongs beside weft-agent", path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error("{} is not the node's any more: make the agent's pod anew, so that it sees the new one", path.display())]
    Orphaned { path: PathBuf },
}

pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => ": mount it writable, or name another directory",
        io::ErrorKind::PermissionDenied => ": make its directory root's, or grant CAP_DAC_OVERRIDE",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": free space on its filesystem",
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => ": something else is in the way, remove it",
        _ => "",
    }
}

impl Kept {
    pub(super) fn new(directory: &Path, name: &'static str, content: Content, mode: u32) -> Self {
        Self { directory: directory.to_owned(), name, content, mode, right: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// Writes the file if it is not as it should be; whether it was not.
    pub(super) fn restore(&mut self) -> Result<bool, KeptError> {
        let now = stamp(&self.path());
        if now.is_some() && now == self.right {
            return Ok(false);
        }
        if self.is_right()? {
            self.right = now;
            return Ok(false);
        }
        self.write()?;
        // Somebody may have altered it before it was looked at again.
        let now = stamp(&self.path());
        self.right = if self.is_right()? { now } else { None };
        Ok(true)
    }

    /// Whether it needs [`Kept::restore`]; cheap, and wrong only towards yes.
    pub(super) fn is_touched(&self) -> bool {
        let now = stamp(&self.path());
        now.is_none() || now != self.right
    }

    /// Removes what a writer that was killed has left.
    pub(super) fn sweep(&self) {
        let draft = self.draft();
        if fs::remove_file(&draft).is_ok() {
            log::info!("{} of an agent that was killed is removed", draft.display());
        }
    }

    /// No runtime reads a name like that.
    fn draft(&self) -> PathBuf {
        self.directory.join(format!(".{}.new", self.name))
    }

    /// Compares it with what it should be. What cannot be read is not right.
    pub(super) fn is_right(&self) -> Result<bool, KeptError> {
        let path = self.path();
        let Ok(found) = fs::symlink_metadata(&path) else { return Ok(false) };
        if !found.is_file() || found.permissions().mode() & 0o7777 != self.mode {
            return Ok(false);
        }
        let Ok(file) = File::open(&path) else { return Ok(false) };
        match &self.content {
            Content::Text(text) => {
                let found = (found.len() == text.len() as u64).then(|| fs::read(&path).ok()).flatten();
                Ok(found.as_deref() == Some(text.as_bytes()))
            }
            Content::File(source) => {
                let failed = |error| KeptError::Source { path: source.clone(), source: error };
                let original = open_source(source)?;
                let same_size = original.metadata().map_err(failed)?.len() == found.len();
                Ok(same_size && same(original, file).map_err(failed)?)
            }
        }
    }

    fn write(&self) -> Result<(), KeptError> {
        let mut source: Box<dyn Read> = match &self.content {
            Content::Text(text) => Box::new(text.as_bytes()),
            Content::File(path) => Box::new(open_source(path)?),
        };
        let draft = self.draft();
        self.replace(&draft, &mut source).map_err(|(call, source)| {
            // What a failure leaves behind goes with the next try at the latest.
            let _ = fs::remove_file(&draft);
            let path = self.path();
            if self.is_orphaned() { KeptError::Orphaned { path } } else { KeptError::Write { call, path, source } }
        })
    }

    /// Whoever opens the file finds the old one or the new one, whole, also after a power failure.
    fn replace(&self, draft: &Path, source: &mut dyn Read) -> Result<(), (&'static str, io::Error)> {
        let at = |call| move |error| (call, error);
        fs::create_dir_all(&self.directory).map_err(at("mkdir"))?;
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(("unlink", error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(self.mode).open(draft).map_err(at("open"))?;
        io::copy(source, &mut file).map_err(at("write"))?;
        // Whatever the umask has left of it.
        file.set_permissions(fs::Permissions::from_mode(self.mode)).map_err(at("chmod"))?;
        file.sync_all().map_err(at("fsync"))?;
        // Nobody may execute what is open for writing.
        drop(file);
        fs::rename(draft, self.path()).map_err(at("rename"))?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(at("fsync"))
    }

    /// Whether the directory was removed while it is mounted for us: nothing can be made in it.
    fn is_orphaned(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|found| found.nlink() == 0)
    }
}

fn open_source(path: &Path) -> Result<File, KeptError> {
    File::open(path).map_err(|source| KeptError::Source { path: path.to_owned(), source })
}

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let of = |found: Metadata| Stamp {
        file: (found.dev(), found.ino()),
        size: found.size(),
        written: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    };
    fs::symlink_metadata(path).ok().map(of)
}

/// Whether both can be read, and hold the same.
pub(super) fn is_copy(one: &Path, other: &Path) -> bool {
    let files = File::open(one).and_then(|one| Ok((one, File::open(other)?)));
    files.and_then(|(one, other)| same(one, other)).unwrap_or_default()
}

/// Whether both files hold the same.
fn same(mut one: File, mut other: File) -> io::Result<bool> {
    const PIECE: u64 = 64 << 10;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        (&mut one).take(PIECE).read_to_end(&mut left)?;
        (&mut other).take(PIECE).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
        left.clear();
        right.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_altered_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("not/yet");
        let mut kept = Kept::new(&conf, "05-weft.conflist", Content::Text("{}\n".into()), 0o644);
        assert!(kept.restore().unwrap() && !kept.restore().unwrap());
        fs::write(kept.path(), "[]\n").unwrap();
        assert!(kept.is_touched() && kept.restore().unwrap());
        fs::remove_file(kept.path()).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", kept.path()).unwrap();
        assert!(kept.restore().unwrap());
        fs::remove_dir_all(&conf).unwrap();
        assert!(kept.restore().unwrap());
        assert_eq!(fs::read_to_string(kept.path()).unwrap(), "{}\n");
        assert_eq!(fs::read_dir(&conf).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn a_copy_is_compared_by_bytes_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, vec![7; 200_000]).unwrap();
        let mut kept = Kept::new(&dir.path().join("bin"), "weft-cni", Content::File(source.clone()), 0o755);
        assert!(kept.restore().unwrap());
        let mut again = Kept::new(&dir.path().join("bin"), "weft-cni", Content::File(source.clone()), 0o755);
        assert!(!again.restore().unwrap(), "the same bytes need no writing");
        fs::set_permissions(kept.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(kept.restore().unwrap());
        let mut bytes = vec![7; 200_000];
        bytes[199_999] = 8;
        fs::write(kept.path(), bytes).unwrap();
        assert!(kept.restore().unwrap());
        fs::remove_file(&source).unwrap();
        fs::remove_file(kept.path()).unwrap();
        let error = kept.restore().unwrap_err().to_string();
        assert!(error.contains("source") && error.contains("beside weft-agent"), "{error}");
    }

    #[test]
    fn a_killed_writers_draft_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path(), "05-weft.conflist", Content::Text(String::new()), 0o644);
        fs::write(dir.path().join(".05-weft.conflist.new"), "half").unwrap();
        kept.sweep();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
