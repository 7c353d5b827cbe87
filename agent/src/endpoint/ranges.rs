//! Pod ranges that change while pods live: old pods keep what they have, new ones get what is new.

use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use weft_cni::api::EndpointInfo;

use crate::kernel::{Kernel, KernelError};

use super::{Endpoints, Record};

impl<K: Kernel> Endpoints<K> {
    /// Makes these the ranges of which new pods get their addresses. The node is prepared for them already.
    pub(crate) async fn set_ranges(&self, ranges: &[IpNet]) -> Result<(), KernelError> {
        let addresses = self.kernel.addresses().await?;
        let records = self.records.borrow();
        let mut oldest_first: Vec<&Record> = records.values().collect();
        oldest_first.sort_by_key(|record| record.created_ns);
        let held = oldest_first.into_iter().flat_map(|record| record.addresses().iter().copied());
        let mut pools = self.pools.borrow_mut();
        pools.set_ranges(ranges, held);
        pools.set_node_addresses(&addresses);
        Ok(())
    }

    /// Keeps new pods from the addresses of those that another plugin started.
    pub(crate) fn spare(&self, addresses: Vec<IpAddr>) {
        self.pools.borrow_mut().set_foreign(addresses);
    }

    /// Whether new pods can get addresses.
    pub(crate) fn has_ranges(&self) -> bool {
        self.pools.borrow().has_ranges()
    }

    /// Attachments whose addresses were leased out of ranges that are no longer this node's.
    pub(crate) fn strays(&self) -> Vec<EndpointInfo> {
        let (records, pools) = (self.records.borrow(), self.pools.borrow());
        let outside = |record: &&Record| record.leased.iter().any(|addr| !pools.contains(*addr));
        records.values().filter(outside).map(Record::info).collect()
    }

    /// Their addresses, as far as they lie outside.
    pub(crate) fn stray_addresses(&self) -> Vec<IpAddr> {
        let (records, pools) = (self.records.borrow(), self.pools.borrow());
        let leased = records.values().flat_map(|record| record.leased.iter().copied());
        let mut outside: Vec<_> = leased.filter(|addr| !pools.contains(*addr)).collect();
        outside.sort_unstable();
        outside
    }

    /// Joins every endpoint once more, as the node's own address towards its pods may be another now.
    pub(crate) async fn rejoin(self: &Rc<Self>) {
        let records = self.records.borrow().clone();
        for (name, record) in records {
            let _turn = self.locks.acquire(&name).await;
            if self.records.borrow().get(&name) == Some(&record) {
                self.mend(&name, &record).await;
            }
        }
    }
}
