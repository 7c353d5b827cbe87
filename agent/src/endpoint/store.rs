//! Records on disk: one small file an attachment, each written whole or not at all.
//!
//! A file is named after the host interface that its attachment has or will have, which follows from the key. Files
//! are not synced: they describe this boot only, and the page cache outlives the agent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weft_cni::link::host_ifname;

use crate::run_dir::{remedy, replace};

use super::Record;

/// A record cannot be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} record {}{}", path.display(), remedy(source))]
pub struct StoreError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What a directory of records held.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) records: Vec<Record>,
    /// Files that no record could be read from, with the reason; they were renamed.
    pub(super) corrupt: Vec<(PathBuf, String)>,
}

/// The directory of records.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Every record. What an interrupted write left is removed; what is no record is set aside as `.corrupt`.
    pub(super) fn load(&self) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(&self.dir).map_err(failed("list", &self.dir))? {
            let path = entry.map_err(failed("list", &self.dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => match parse(&path, &fs::read(&path).map_err(failed("read", &path))?) {
                    Ok(record) => loaded.records.push(record),
                    Err(why) => {
                        let aside = path.with_extension("json.corrupt");
                        fs::rename(&path, &aside).map_err(failed("set aside", &path))?;
                        loaded.corrupt.push((aside, why));
                    }
                },
                Some("tmp") => remove_file(&path)?,
                _ => {}
            }
        }
        Ok(loaded)
    }

    /// Every record that can be read; nothing is moved or removed.
    pub(crate) fn peek(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| parse(&entry.path(), &fs::read(entry.path()).ok()?).ok()).collect()
    }

    /// Writes the record in place of an older one; on failure the older one stands.
    pub(super) fn write(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.path(&host_ifname(&record.key));
        let json = serde_json::to_vec(record).map_err(io::Error::from);
        json.and_then(|json| replace(&path, &json)).map_err(failed("write", &path))
    }

    /// Removes the record of the attachment with that host interface name; one that is gone is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        remove_file(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("json")
    }
}

/// Identifies this boot of the machine: random(4).
pub(crate) fn boot_id() -> Result<String, StoreError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(fs::read_to_string(path).map_err(failed("read boot id for the", path))?.trim().to_owned())
}

fn parse(path: &Path, json: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let name = host_ifname(&record.key);
    if path.file_stem().is_some_and(|stem| stem == name.as_str()) {
        Ok(record)
    } else {
        Err(format!("it belongs into {name}.json"))
    }
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use weft_cni::api::{AttachmentKey, Origin};

    use super::*;

    fn record(container: &str) -> Record {
        Record {
            id: 7,
            key: AttachmentKey { container_id: container.into(), ifname: "eth0".into() },
            network: "weft".into(),
            netns: "/run/netns/x".into(),
            origin: Origin::Created,
            pod: None,
            leased: vec!["10.0.0.2".parse().unwrap()],
            endpoint: None,
            boot: "b".into(),
            created_ns: 1,
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned());
        (dir, store)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn records_come_back() {
        let (_dir, store) = store();
        store.write(&record("a")).unwrap();
        store.write(&Record { id: 8, ..record("a") }).unwrap();
        store.write(&record("../../etc/passwd")).unwrap();
        let mut ids: Vec<_> = store.load().unwrap().records.iter().map(|record| record.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [7, 8]);
        store.remove(&host_ifname(&record("a").key)).unwrap();
        store.remove(&host_ifname(&record("a").key)).unwrap();
        assert_eq!(store.load().unwrap().records.len(), 1);
    }

    #[test]
    fn what_is_no_record_is_set_aside() {
        let (dir, store) = store();
        store.write(&record("good")).unwrap();
        let stray = serde_json::to_vec(&record("good")).unwrap();
        for (name, bytes) in
            [("empty.json", &b""[..]), ("cut.json", b"{\"id\":"), ("raw.json", b"\xff\xfe"), ("stray.json", &stray)]
        {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        fs::write(dir.path().join("half.tmp"), "{").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!((loaded.records.len(), loaded.corrupt.len()), (1, 4));
        let good = host_ifname(&record("good").key) + ".json";
        let left = ["cut.json.corrupt", "empty.json.corrupt", "raw.json.corrupt", "stray.json.corrupt", good.as_str()];
        assert_eq!(names(dir.path()), left);
        assert!(store.load().unwrap().corrupt.is_empty(), "once");
    }

    #[test]
    fn a_failed_write_leaves_the_old_record() {
        let (dir, store) = store();
        let draft = dir.path().join(host_ifname(&record("a").key)).with_extension("tmp");
        store.write(&record("a")).unwrap();
        fs::create_dir(&draft).unwrap();
        let error = store.write(&Record { id: 9, ..record("a") }).unwrap_err().to_string();
        assert!(error.starts_with("cannot write record /"), "{error}");
        fs::remove_dir(&draft).unwrap();
        assert_eq!(store.load().unwrap().records[0].id, 7);
    }
}
