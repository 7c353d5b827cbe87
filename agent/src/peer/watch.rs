//! The peers file: read at start and whenever it changes.
//!
//! The directory is watched, not the file: a file that is renamed into place, and the links of a mounted `ConfigMap`,
//! are other files afterwards. What no event tells of (another mount, a directory that came later) a slow look finds.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::inotify::{self, Events};
use crate::text;

use super::error::PeerError;
use super::{Listing, PeerSet, file};

/// How often the file is looked at without an event.
const POLL: Duration = Duration::from_secs(2);

/// How long a file must have stood still before it is read: whoever writes it in place is done by then.
const SETTLED: Duration = Duration::from_millis(5);

/// Where the list comes from, and what it is checked against.
#[derive(Clone, Debug)]
pub(crate) struct PeersFile {
    pub(crate) path: PathBuf,
    /// Name of this node.
    pub(crate) own_name: String,
    /// Pod ranges of this node.
    pub(crate) own_ranges: Vec<IpNet>,
}

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: Option<SystemTime>,
}

impl PeersFile {
    /// Reads the file. A file that cannot be used leaves what was known before.
    pub(crate) fn read(&self, before: &Listing) -> Listing {
        match self.load() {
            Ok(set) => Listing { known: Some(Arc::new(set)), problem: None },
            Err(error) => {
                let kept = if before.known.is_some() { "the last good list stays" } else { "peers stay as they were" };
                let problem = format!("peers file {}: {} ({kept})", self.path.display(), text::chain(&error));
                Listing { known: before.known.clone(), problem: Some(problem) }
            }
        }
    }

    /// Sends every new list, until nobody listens.
    pub(crate) async fn follow(self, lists: watch::Sender<Listing>) {
        let directory = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut events = match Events::start("peers") {
            Ok(events) => Some(events),
            Err(error) => {
                log::warn!("peers file: changes are seen only every {} s: {error}", POLL.as_secs());
                None
            }
        };
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some(events) = &events {
            events.watch(&directory);
        }
        // The start has read it, but nobody watched until now.
        let mut loaded = self.send(&lists).await;
        let mut seen = None;
        loop {
            let due = tokio::select! {
                () = lists.closed() => return,
                names = inotify::next(events.as_mut()) => {
                    // Two contents within a tick of the clock have one stamp, so the file's own event counts as such.
                    let meant = names.iter().any(|name| name.as_deref() == self.path.file_name());
                    meant || stamp(&self.path) != loaded
                }
                _ = polls.tick() => {
                    if let Some(events) = &events {
                        events.watch(&directory);
                    }
                    // Twice the same, so that nobody is writing it just now.
                    let now = stamp(&self.path);
                    let still = seen.replace(now) == Some(now);
                    still && now != loaded
                }
            };
            if due {
                loaded = self.send(&lists).await;
            }
        }
    }

    /// Sends what the file holds, and answers which content that was.
    async fn send(&self, lists: &watch::Sender<Listing>) -> Option<Stamp> {
        let (listing, read) = self.read_settled(lists).await;
        lists.send_if_modified(|current| {
            let changed = *current != listing;
            if changed {
                if listing.known != current.known {
                    let count = listing.known.as_ref().map_or(0, |set| set.peers.len());
                    log::info!("peers file {}: {count} peers", self.path.display());
                }
                *current = listing;
            }
            changed
        });
        read
    }

    /// Reads the file once nobody writes it: half of a list, or none of it, is a list too, of fewer peers.
    async fn read_settled(&self, lists: &watch::Sender<Listing>) -> (Listing, Option<Stamp>) {
        loop {
            let before = stamp(&self.path);
            sleep(SETTLED).await;
            if stamp(&self.path) != before {
                continue;
            }
            let (file, known) = (self.clone(), lists.borrow().clone());
            // Thousands of peers take a while to read.
            let read = tokio::task::spawn_blocking(move || file.read(&known)).await;
            if let Ok(listing) = read
                && stamp(&self.path) == before
            {
                return (listing, before);
            }
        }
    }

    fn load(&self) -> Result<PeerSet, PeerError> {
        let text = fs::read_to_string(&self.path).map_err(|source| PeerError::Read { source })?;
        file::parse(&text, &self.own_name, &self.own_ranges)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |found: Metadata| Stamp {
        file: (found.dev(), found.ino()),
        size: found.size(),
        changed: found.modified().ok(),
    };
    fs::metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    fn text(names: &[&str]) -> String {
        let entry = |(at, name)| format!("[[peer]]\nname = '{name}'\naddresses = ['192.0.2.{}']\n", at + 1);
        names.iter().enumerate().map(entry).collect()
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.known.iter().flat_map(|set| set.peers.iter().map(|peer| peer.name.to_string())).collect()
    }

    fn put(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join("draft"), text).unwrap();
        fs::rename(dir.join("draft"), dir.join(name)).unwrap();
    }

    async fn changed(lists: &mut watch::Receiver<Listing>) -> Listing {
        timeout(Duration::from_secs(20), lists.changed()).await.unwrap().unwrap();
        lists.borrow_and_update().clone()
    }

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    }

    fn start(path: PathBuf) -> (PeersFile, watch::Sender<Listing>, watch::Receiver<Listing>) {
        let file = PeersFile { path, own_name: "n1".into(), own_ranges: Vec::new() };
        let (sender, mut receiver) = watch::channel(file.read(&Listing::default()));
        receiver.mark_unchanged();
        (file, sender, receiver)
    }

    #[test]
    fn a_rename_is_seen_at_once_and_a_bad_file_keeps_the_last_list() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "peers.toml", &text(&["n2"]));
        let (file, sender, mut lists) = start(dir.path().join("peers.toml"));
        assert_eq!(names(&lists.borrow()), ["n2"]);
        run(async {
            let follower = async {
                file.follow(sender).await;
            };
            let checks = async {
                // The directory is watched from the first look on.
                sleep(Duration::from_millis(50)).await;
                let begun = Instant::now();
                put(dir.path(), "peers.toml", &text(&["n2", "n3"]));
                assert_eq!(names(&changed(&mut lists).await), ["n2", "n3"]);
                assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
                put(dir.path(), "peers.toml", "[[peer");
                let bad = changed(&mut lists).await;
                assert_eq!(names(&bad), ["n2", "n3"]);
                assert!(bad.problem.unwrap().contains("line 1"));
                fs::write(dir.path().join("peers.toml"), text(&["n4"])).unwrap();
                let good = changed(&mut lists).await;
                assert_eq!((names(&good), good.problem), (vec!["n4".to_owned()], None));
            };
            tokio::select! { () = follower => unreachable!(), () = checks => {} }
        });
    }

    #[test]
    fn the_links_of_a_config_map_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str, content: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("peers.toml"), content).unwrap();
            symlink(name, dir.path().join("..data_tmp")).unwrap();
            fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        };
        version("..1", &text(&["n2"]));
        symlink("..data/peers.toml", dir.path().join("peers.toml")).unwrap();
        let (file, sender, mut lists) = start(dir.path().join("peers.toml"));
        run(async {
            let checks = async {
                sleep(Duration::from_millis(50)).await;
                version("..2", &text(&["n2", "n5"]));
                assert_eq!(names(&changed(&mut lists).await), ["n2", "n5"]);
            };
            tokio::select! { () = file.follow(sender) => unreachable!(), () = checks => {} }
        });
    }

    #[test]
    fn a_directory_may_come_later() {
        let dir = tempfile::tempdir().unwrap();
        let (file, sender, mut lists) = start(dir.path().join("later/peers.toml"));
        assert!(lists.borrow().known.is_none() && lists.borrow().problem.is_some());
        run(async {
            let checks = async {
                fs::create_dir(dir.path().join("later")).unwrap();
                fs::write(dir.path().join("later/peers.toml"), text(&["n6"])).unwrap();
                assert_eq!(names(&changed(&mut lists).await), ["n6"]);
            };
            tokio::select! { () = file.follow(sender) => unreachable!(), () = checks => {} }
        });
    }
}
