//! An API server double: TLS, tokens, lists, watches and patches as a real one does them, and whatever may go wrong.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>

mod authority;
mod door;
mod fault;
mod list;
mod object;
mod patch;
mod query;
mod refusal;
mod selector;
mod serve;
mod state;
mod store;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::netns::Netns;

use authority::Authority;
use door::Door;
use object::Key;
use state::{Shared, State};
use store::Store;

pub use fault::{Bad, Faults};
pub use object::{Kind, NODES, PODS, SERVICES};
pub use query::Ask;

/// A running server; a stopped one keeps its objects.
#[derive(Debug)]
pub struct ApiServer {
    door: Mutex<Option<Door>>,
    shared: Arc<Shared>,
    netns: File,
    address: SocketAddr,
    serial: AtomicU32,
}

/// Years in which a server's certificate is good, whatever the day of the test.
const VALID: Range<i32> = 1975..4096;

impl ApiServer {
    /// A server at an address of a network namespace, with an authority of its own and a first token.
    pub fn start(netns: &Netns, address: SocketAddr) -> Result<Self> {
        let state = State {
            store: Store::default(),
            faults: Faults::default(),
            authority: Authority::new(&[address.ip()], VALID)?,
            tokens: BTreeSet::new(),
            asked: BTreeMap::new(),
            granted: None,
            log: Vec::new(),
            streams: 0,
            bookmark: Duration::from_secs(60),
        };
        let netns = File::open(netns.path()).with_context(|| format!("open {}", netns.path().display()))?;
        let (door, shared, serial) = (Mutex::new(None), Shared::new(state), AtomicU32::new(0));
        let server = Self { door, shared, netns, address, serial };
        server.replace_token();
        server.resume()?;
        Ok(server)
    }

    /// Its address as `--api-server` takes it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Stops listening and ends all connections: whoever connects is refused.
    pub fn stop(&self) {
        drop(self.door.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Listens again.
    pub fn resume(&self) -> Result<()> {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if door.is_none() {
            *door = Some(Door::open(self.netns.try_clone()?, self.address, Arc::clone(&self.shared))?);
        }
        Ok(())
    }

    /// Ends all connections; new ones are served.
    pub fn drop_connections(&self) {
        self.shared.signals.send_modify(|signals| signals.connections += 1);
    }

    /// Tells every open stream that its version is gone, and forgets what happened so far.
    pub fn expire_streams(&self) {
        self.forget();
        self.shared.signals.send_modify(|signals| signals.streams += 1);
    }

    /// Forgets what happened so far: who goes on from an older version is told that it is gone.
    pub fn forget(&self) {
        self.shared.change(|state| state.store.forget());
    }

    /// Misbehaves like this from now on, and in no other way.
    pub fn misbehave(&self, faults: Faults) {
        self.shared.change(|state| state.faults = faults);
    }

    /// Bookmarks come this often from the next one on.
    pub fn bookmark_every(&self, interval: Duration) {
        self.shared.change(|state| state.bookmark = interval);
    }

    /// The certificate of its authority, in PEM.
    pub fn authority(&self) -> String {
        self.shared.state().authority.pem.clone()
    }

    /// Has a new authority vouch for a new certificate; connections that stand go on.
    pub fn replace_authority(&self) -> Result<()> {
        self.certify(VALID)
    }

    /// The same with a certificate for these years alone, as one whose clock is wrong sees it.
    pub fn certify(&self, years: Range<i32>) -> Result<()> {
        let authority = Authority::new(&[self.address.ip()], years)?;
        self.shared.change(|state| state.authority = authority);
        Ok(())
    }

    /// A token that it takes.
    pub fn token(&self) -> Result<String> {
        self.shared.state().tokens.last().cloned().context("the server takes no token")
    }

    /// Takes a new token and none of the old ones any more.
    pub fn replace_token(&self) -> String {
        let token = format!("token-{:08}", self.serial.fetch_add(1, Ordering::Relaxed));
        self.shared.change(|state| state.tokens = BTreeSet::from([token.clone()]));
        token
    }

    /// Puts the token and the authority's certificate where a pod finds them, replaced in one step as a kubelet does.
    pub fn write_service_account(&self, dir: &Path) -> Result<()> {
        let version = format!("..version{}", self.serial.fetch_add(1, Ordering::Relaxed));
        let files = dir.join(&version);
        fs::create_dir_all(&files).with_context(|| format!("create {}", files.display()))?;
        let contents = [("token", self.token()?), ("ca.crt", self.authority()), ("namespace", "weft-system".into())];
        for (name, text) in contents {
            fs::write(files.join(name), text).with_context(|| format!("write {name}"))?;
            let link = dir.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), &link).with_context(|| format!("link {}", link.display()))?;
            }
        }
        let (fresh, data) = (dir.join("..data_tmp"), dir.join("..data"));
        let old = fs::read_link(&data).ok();
        symlink(&version, &fresh).context("link a version")?;
        fs::rename(&fresh, &data).context("switch versions")?;
        old.map_or(Ok(()), |old| fs::remove_dir_all(dir.join(old))).context("remove an old version")
    }

    /// Creates an object or puts it in place of the one there is, status and all.
    pub fn put(&self, object: Value) -> Result<()> {
        let key = Key::of(&object).with_context(|| format!("no kind that the server has: {object}"))?;
        self.shared.change(|state| state.store.put(key, object));
        Ok(())
    }

    /// Creates or replaces all of these at once.
    pub fn put_all(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let keyed = objects.into_iter().map(|one| Key::of(&one).map(|key| (key, one)).context("an unknown kind"));
        let keyed: Vec<_> = keyed.collect::<Result<_>>()?;
        self.shared.change(|state| keyed.into_iter().for_each(|(key, one)| drop(state.store.put(key, one))));
        Ok(())
    }

    /// An object, if it is there.
    pub fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Value> {
        self.shared.state().store.get(&key(kind, namespace, name)).ok().map(|object| object.json())
    }

    /// Changes an object as whoever has written it would.
    pub fn edit(&self, kind: &'static Kind, namespace: &str, name: &str, job: impl FnOnce(&mut Value)) -> Result<()> {
        let key = key(kind, namespace, name);
        self.shared.change(|state| {
            let was = state.store.get(&key).map_err(|refusal| anyhow!("{}", refusal.json()))?.json();
            let mut json = was.clone();
            job(&mut json);
            state.store.replace(key, Some(&was), json);
            Ok(())
        })
    }

    /// Removes an object.
    pub fn remove(&self, kind: &'static Kind, namespace: &str, name: &str) -> Result<()> {
        let removed = self.shared.change(|state| state.store.remove(&key(kind, namespace, name)));
        removed.map(drop).map_err(|refusal| anyhow!("{}", refusal.json()))
    }

    /// Allows only this from now on.
    pub fn grant(&self, granted: BTreeSet<Ask>) {
        self.shared.change(|state| state.granted = Some(granted));
    }

    /// What was asked for so far, and how often.
    pub fn asked(&self) -> BTreeMap<Ask, u64> {
        self.shared.state().asked.clone()
    }

    /// Method and address of each request so far.
    pub fn log(&self) -> Vec<String> {
        self.shared.state().log.clone()
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.shared.state().streams
    }
}

fn key(kind: &'static Kind, namespace: &str, name: &str) -> Key {
    Key { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}
