//! Brings records and kernel together: at start, where every record without endpoint is the rest of an ADD that died
//! with the last agent, and by a timer, where it may be an ADD that still runs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use weft_cni::api::Origin;

use crate::kernel::{Kernel, KernelError};
use crate::node::HostLink;
use crate::text;

use super::error::show;
use super::{EndpointError, Endpoints, Record, StoreError};

/// How long an ADD may take from its lease to its endpoint before the timer takes it for dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node as it was found.
type Links = BTreeMap<String, HostLink>;

impl<K: Kernel> Endpoints<K> {
    /// Reads the records and makes the node what they say.
    ///
    /// # Errors
    ///
    /// Records that cannot be read or a node that cannot be listed. What is wrong with a single attachment is
    /// logged, told by [`Endpoints::troubles`], and tried again by the timer.
    pub(crate) async fn restore(self: &Rc<Self>) -> Result<(), RestoreError> {
        self.load()?;
        self.refresh().await?;
        self.drain_spool().await;
        let links = self.links().await?;
        let records = self.records.borrow().clone();
        let mut half_made = Vec::new();
        for (name, record) in records {
            if record.endpoint.is_none() || self.lost_its_link(&name, &record, &links).await? {
                half_made.push((name, record));
            }
        }
        self.remove_half_made(half_made).await;
        self.kernel.publish(&self.live())?;
        let whole = self.records.borrow().clone();
        for (name, record) in whole {
            self.mend(&name, &record).await;
        }
        self.remove_orphans(&links).await;
        self.sweep();
        Ok(())
    }

    /// The timer's round.
    pub(crate) async fn reconcile(self: &Rc<Self>) {
        if let Err(error) = self.round().await {
            log::warn!("reconciliation stopped: {}", text::chain(&error));
        }
    }

    async fn round(self: &Rc<Self>) -> Result<(), KernelError> {
        self.refresh().await?;
        self.drain_spool().await;
        // Records before links: the link of an endpoint that is on record exists, or existed, by now.
        let records = self.records.borrow().clone();
        let links = self.links().await?;
        let now = self.now();
        let (mut half_made, mut whole) = (Vec::new(), Vec::new());
        for (name, record) in records {
            if record.endpoint.is_none() {
                let dead = now.saturating_sub(Duration::from_nanos(record.created_ns)) >= PATIENCE;
                half_made.extend(dead.then_some((name, record)));
            } else if self.lost_its_link(&name, &record, &links).await? {
                half_made.push((name, record));
            } else {
                whole.push((name, record));
            }
        }
        self.remove_half_made(half_made).await;
        for (name, record) in whole {
            let Some(endpoint) = record.endpoint() else { continue };
            match self.kernel.verify(&endpoint).await {
                Ok(()) => {
                    self.troubles.borrow_mut().remove(&name);
                }
                Err(error) => {
                    let _turn = self.locks.acquire(&name).await;
                    if self.records.borrow().get(&name) == Some(&record) {
                        log::warn!("{}: not whole, attaching anew: {}", show(&record.key), text::chain(&error));
                        self.mend(&name, &record).await;
                    }
                }
            }
        }
        self.remove_orphans(&links).await;
        self.sweep();
        Ok(())
    }

    /// Records of this boot into memory, their addresses out of the pools.
    fn load(&self) -> Result<(), StoreError> {
        let loaded = self.store.load()?;
        for (path, why) in loaded.corrupt {
            log::warn!("no record, set aside as {}: {why}", path.display());
        }
        let mut records = loaded.records;
        records.sort_by_key(|record| record.created_ns);
        for record in records {
            let name = weft_cni::link::host_ifname(&record.key);
            if record.boot != self.identity.boot {
                log::info!("{}: of another boot, forgotten", show(&record.key));
                self.store.remove(&name)?;
                continue;
            }
            let mut pools = self.pools.borrow_mut();
            for addr in record.addresses() {
                if let Err(error) = pools.hold(*addr) {
                    log::warn!("{}: {error}", show(&record.key));
                }
                pools.resume_after(*addr);
            }
            self.number_after(record.id);
            self.records.borrow_mut().insert(name, record);
        }
        Ok(())
    }

    /// What may change on a node while the agent runs.
    async fn refresh(&self) -> Result<(), KernelError> {
        let addresses = self.kernel.addresses().await?;
        self.pools.borrow_mut().set_node_addresses(&addresses);
        Ok(())
    }

    async fn links(&self) -> Result<Links, KernelError> {
        Ok(self.kernel.own_links().await?.into_iter().map(|link| (link.name.clone(), link)).collect())
    }

    /// Whether the interface of a finished endpoint is gone, with its namespace most often, or is another by now.
    async fn lost_its_link(&self, name: &str, record: &Record, links: &Links) -> Result<bool, KernelError> {
        let Some(spec) = &record.endpoint else { return Ok(false) };
        let link = match record.origin {
            Origin::Created => links.get(name).cloned(),
            Origin::Adopted => self.kernel.link(&spec.host_ifname).await?,
        };
        Ok(link.is_none_or(|link| link.ifindex != spec.host_ifindex))
    }

    async fn remove_half_made(self: &Rc<Self>, doomed: Vec<(String, Record)>) {
        for (name, record) in &doomed {
            let why = if record.endpoint.is_some() { "its interface is gone" } else { "its ADD did not finish" };
            log::info!("{}: {why}, removing {name}", show(&record.key));
        }
        for (record, outcome) in self.remove_all(doomed).await {
            if let Err(error) = outcome {
                self.note(&weft_cni::link::host_ifname(&record.key), &error);
            }
        }
    }

    /// Links of this agent's group that no record tells of.
    async fn remove_orphans(self: &Rc<Self>, links: &Links) {
        let mut removals = JoinSet::new();
        for name in links.keys().filter(|name| !self.records.borrow().contains_key(*name)) {
            let (endpoints, name) = (Rc::clone(self), name.clone());
            removals.spawn_local(async move {
                let _turn = endpoints.locks.acquire(&name).await;
                if endpoints.records.borrow().contains_key(&name) {
                    return;
                }
                log::info!("{name}: no record tells of it, removing");
                if let Err(error) = endpoints.kernel.remove_link(&name).await {
                    log::warn!("{name}: {}", text::chain(&error));
                }
            });
        }
        removals.join_all().await;
    }

    /// Does what is missing of a finished endpoint.
    pub(super) async fn mend(&self, name: &str, record: &Record) {
        let Some(endpoint) = record.endpoint() else { return };
        match self.kernel.attach(&endpoint).await {
            Ok(()) => {
                self.troubles.borrow_mut().remove(name);
            }
            Err(source) => self.note(name, &EndpointError::Attach { key: record.key.clone(), source: source.into() }),
        }
    }

    fn sweep(&self) {
        match self.kernel.sweep(&self.live()) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} map entries and pins of no endpoint removed"),
            Err(error) => log::warn!("{}", text::chain(&error)),
        }
    }

    fn note(&self, name: &str, error: &EndpointError) {
        let text = text::chain(error);
        log::warn!("{text}");
        self.troubles.borrow_mut().insert(name.to_owned(), text);
    }
}

/// The agent cannot start from what it found.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
