//! Where maps and links are pinned: `<bpf-dir>/v<ABI>/<map>` and `<bpf-dir>/v<ABI>/links/<device>_<program>`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weft_abi::Hook;

use super::DatapathError;

/// The directory of one version of the maps' layout.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    directory: PathBuf,
}

/// A link that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    /// Name of its device.
    pub(super) device: String,
    pub(super) hook: Hook,
    pub(super) path: PathBuf,
}

impl Pins {
    /// Makes the directory of the running version.
    pub(super) fn create(bpf_dir: &Path) -> Result<Self, DatapathError> {
        let pins = Self { directory: bpf_dir.join(format!("v{}", weft_abi::VERSION)) };
        let links = pins.links();
        match fs::create_dir_all(&links) {
            Ok(()) => Ok(pins),
            Err(source) => Err(DatapathError::File { call: "mkdir", path: links, source }),
        }
    }

    /// Directories of every version that are there.
    pub(super) fn all(bpf_dir: &Path) -> Result<Vec<Self>, DatapathError> {
        let is_version = |name: &str| name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
        let names = names_in(bpf_dir)?;
        Ok(names.iter().filter(|name| is_version(name)).map(|name| Self { directory: bpf_dir.join(name) }).collect())
    }

    /// Directories of other versions.
    pub(super) fn others(&self, bpf_dir: &Path) -> Result<Vec<Self>, DatapathError> {
        let all = Self::all(bpf_dir)?;
        Ok(all.into_iter().filter(|pins| pins.directory != self.directory).collect())
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn link(&self, device: &str, hook: Hook) -> PathBuf {
        self.links().join(link_name(device, hook))
    }

    /// That of a program for cgroups.
    pub(super) fn cgroup_link(&self, program: &str) -> PathBuf {
        self.links().join(format!("cgroup_{program}"))
    }

    /// Every link of a device that is pinned here.
    pub(super) fn pinned(&self) -> Result<Vec<Pinned>, DatapathError> {
        let links = self.links();
        let parse = |name: &String| {
            let (device, hook) = device_of(name)?;
            Some(Pinned { device, hook, path: links.join(name) })
        };
        Ok(names_in(&links)?.iter().filter_map(parse).collect())
    }

    /// Removes the directory and all in it.
    pub(super) fn remove(&self) -> Result<(), DatapathError> {
        match fs::remove_dir_all(&self.directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DatapathError::File { call: "rmdir", path: self.directory.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn links(&self) -> PathBuf {
        self.directory.join("links")
    }
}

/// Removes a pin; whether it was there.
pub(super) fn unpin(path: &Path) -> Result<bool, DatapathError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(DatapathError::File { call: "unlink", path: path.to_owned(), source }),
    }
}

/// The BPF filesystem allows no dot in a name, and a device's name has no colon.
fn link_name(device: &str, hook: Hook) -> String {
    format!("{}_{}", device.replace('.', ":"), hook.name())
}

fn device_of(link: &str) -> Option<(String, Hook)> {
    let parse = |hook: Hook| Some((link.strip_suffix(hook.name())?.strip_suffix('_')?.replace(':', "."), hook));
    Hook::ALL.into_iter().find_map(parse)
}

fn names_in(directory: &Path) -> Result<Vec<String>, DatapathError> {
    let failed = |source| DatapathError::File { call: "readdir", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect::<io::Result<_>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_come_back() {
        for device in ["weft00000000001", "eth0.100", "a_b"] {
            for hook in Hook::ALL {
                let name = link_name(device, hook);
                assert!(!name.contains('.'));
                assert_eq!(device_of(&name), Some((device.to_owned(), hook)));
            }
        }
        assert_eq!(device_of("weft00000000001_other"), None);
    }

    #[test]
    fn only_directories_of_a_version_count() {
        let bpf_dir = tempfile::tempdir().unwrap();
        let pins = Pins::create(bpf_dir.path()).unwrap();
        for name in ["v0", "v", "vx", "w0"] {
            fs::create_dir(bpf_dir.path().join(name)).unwrap();
        }
        assert_eq!(Pins::all(bpf_dir.path()).unwrap().len(), 2);
        let others = pins.others(bpf_dir.path()).unwrap();
        assert_eq!(others.len(), 1);
        others[0].remove().unwrap();
        others[0].remove().unwrap();
        assert!(pins.others(bpf_dir.path()).unwrap().is_empty());
    }

    #[test]
    fn unpinning_twice_is_no_error() {
        let bpf_dir = tempfile::tempdir().unwrap();
        let pins = Pins::create(bpf_dir.path()).unwrap();
        let link = pins.link("eth0.100", Hook::FromPod);
        fs::write(&link, "").unwrap();
        let pinned = Pinned { device: "eth0.100".to_owned(), hook: Hook::FromPod, path: link.clone() };
        assert_eq!(pins.pinned().unwrap(), [pinned]);
        assert!(unpin(&link).unwrap());
        assert!(!unpin(&link).unwrap());
        assert!(pins.pinned().unwrap().is_empty());
    }
}
