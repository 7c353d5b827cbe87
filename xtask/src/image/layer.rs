//! The image's one layer, and tar files that say nothing of when and by whom they were made.

use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::Binary;
use super::blob::{Blob, sha256};

/// The files of an image.
#[derive(Debug)]
pub(super) struct Layer {
    /// Compressed, as it travels.
    pub(super) blob: Blob,
    /// Digest of what it unpacks to.
    pub(super) diff_id: String,
}

impl Layer {
    /// The binaries in `/bin`, in the order of their names.
    pub(super) fn of(binaries: &[Binary]) -> Result<Self> {
        let mut binaries: Vec<_> = binaries.iter().collect();
        binaries.sort_by_key(|binary| &binary.name);
        let mut tar = Tar::default();
        tar.directory("bin/")?;
        for binary in binaries {
            tar.file(&format!("bin/{}", binary.name), 0o755, &binary.bytes)?;
        }
        let tar = tar.end()?;
        // Its header has the time only if one is given.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&tar).context("cannot compress a layer")?;
        let blob =
            Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip.finish().context("cannot compress a layer")?);
        Ok(Self { blob, diff_id: format!("sha256:{}", sha256(&tar)) })
    }
}

/// A tar file in memory; everything in it is root's and of 1970.
pub(super) struct Tar(Builder<Vec<u8>>);

impl Default for Tar {
    fn default() -> Self {
        Self(Builder::new(Vec::new()))
    }
}

impl Tar {
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.append(path, EntryType::Directory, 0o755, &[])
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.append(path, EntryType::Regular, mode, bytes)
    }

    pub(super) fn end(self) -> Result<Vec<u8>> {
        self.0.into_inner().context("cannot end a tar file")
    }

    fn append(&mut self, path: &str, kind: EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len().try_into().with_context(|| path.to_owned())?);
        self.0.append_data(&mut header, path, bytes).with_context(|| format!("cannot put {path} into a tar file"))
    }
}
