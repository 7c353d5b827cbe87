//! What lives on this node: the records, in memory as on disk, and the leases that follow from them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use weft_cni::api::{AttachmentKey, EndpointInfo, PoolStatus};
use weft_cni::link::host_ifname;
use weft_cni::spool::Spool;

use crate::ipam::{IpamError, Pools};
use crate::kernel::Kernel;
use crate::run_dir::RunDir;

use super::locks::Locks;
use super::{Endpoint, EndpointError, Record, Store};

/// What marks the things of this agent.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Group of the host ends of its veths.
    pub(crate) link_group: u32,
    /// The boot that its records belong to.
    pub(crate) boot: String,
    /// MTU of the pods' interfaces in bytes; `None` takes what the ways off the node leave.
    pub(crate) mtu: Option<u32>,
}

/// Every attachment of this node, and the rules by which they come, live and go.
#[derive(Debug)]
pub(crate) struct Endpoints<K> {
    pub(super) kernel: K,
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) identity: Identity,
    pub(super) pools: RefCell<Pools>,
    /// By host interface name, which follows from the key.
    pub(super) records: RefCell<BTreeMap<String, Record>>,
    pub(super) locks: Locks,
    /// What the last reconciliation could not mend, by host interface name.
    pub(super) troubles: RefCell<BTreeMap<String, String>>,
    next_id: Cell<u32>,
}

impl<K: Kernel> Endpoints<K> {
    pub(crate) fn new(kernel: K, run_dir: &RunDir, pools: Pools, identity: Identity) -> Self {
        Self {
            kernel,
            store: Store::new(run_dir.attachments()),
            spool: Spool::new(run_dir.path()),
            identity,
            pools: RefCell::new(pools),
            records: RefCell::default(),
            locks: Locks::default(),
            troubles: RefCell::default(),
            next_id: Cell::new(1),
        }
    }

    pub(crate) fn kernel(&self) -> &K {
        &self.kernel
    }

    /// MTU that new pods get, in bytes.
    pub(crate) fn pod_mtu(&self) -> u32 {
        self.identity.mtu.unwrap_or_else(|| self.kernel.pod_mtu())
    }

    pub(crate) fn count(&self) -> usize {
        self.records.borrow().len()
    }

    /// Every attachment, oldest first.
    pub(crate) fn list(&self) -> Vec<EndpointInfo> {
        let records = self.records.borrow();
        let mut list: Vec<_> = records.values().collect();
        list.sort_by_key(|record| (record.created_ns, record.id));
        list.into_iter().map(|record| self.info(record)).collect()
    }

    /// Every record, as it is now.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.borrow().values().cloned().collect()
    }

    pub(crate) fn get(&self, key: &AttachmentKey) -> Result<EndpointInfo, EndpointError> {
        self.find(key).map(|record| self.info(&record)).ok_or_else(|| EndpointError::NotFound { key: key.clone() })
    }

    /// The attachment behind a host interface.
    pub(crate) fn by_ifindex(&self, ifindex: u32) -> Option<AttachmentKey> {
        let records = self.records.borrow();
        let behind = |record: &&Record| record.endpoint.as_ref().is_some_and(|spec| spec.host_ifindex == ifindex);
        records.values().find(behind).map(|record| record.key.clone())
    }

    pub(crate) fn pools(&self) -> Vec<PoolStatus> {
        self.pools.borrow().status(self.kernel.boottime())
    }

    /// Families of which no address is left.
    pub(crate) fn exhausted(&self) -> Vec<IpamError> {
        self.pools.borrow().exhausted()
    }

    /// What the last reconciliation could not mend, a sentence each.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.troubles.borrow().values().cloned().collect()
    }

    /// The record of that attachment; not one that merely shares its interface name.
    pub(super) fn find(&self, key: &AttachmentKey) -> Option<Record> {
        self.records.borrow().get(&host_ifname(key)).filter(|record| record.key == *key).cloned()
    }

    /// Endpoints that were handed over.
    pub(super) fn live(&self) -> Vec<Endpoint> {
        self.records.borrow().values().filter_map(Record::endpoint).collect()
    }

    /// Who holds the address, by lease or as an endpoint.
    pub(super) fn holder(&self, addr: IpAddr) -> Option<AttachmentKey> {
        let records = self.records.borrow();
        records.values().find(|record| record.holds(addr)).map(|record| record.key.clone())
    }

    pub(super) fn now(&self) -> Duration {
        self.kernel.boottime()
    }

    /// A number that no record has.
    pub(super) fn next_id(&self) -> u32 {
        let records = self.records.borrow();
        loop {
            let id = self.next_id.get();
            self.next_id.set(id.checked_add(1).unwrap_or(1));
            if records.values().all(|record| record.id != id) {
                return id;
            }
        }
    }

    /// Numbers begin behind those that are on disk, so that an old one in a map is not taken for a new endpoint.
    pub(super) fn number_after(&self, id: u32) {
        self.next_id.set(self.next_id.get().max(id.checked_add(1).unwrap_or(1)));
    }
}
