//! A kernel for tests: links, attached endpoints, and failures on order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weft_abi::TraceFilter;
use weft_cni::api::{
    Bandwidth, BandwidthStatus, Exhausted, Flows, LimitCounters, LimitUse, MapInfo, Mapping, PortMapping, PortsStatus,
    VerdictCount,
};

use crate::flow::{self, Timeouts};
use crate::kernel::{Kernel, KernelError};
use crate::node::{HostLink, Taken};

use super::Endpoint;

/// Remembers what it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) links: RefCell<BTreeMap<String, HostLink>>,
    pub(crate) attached: RefCell<BTreeMap<u32, Endpoint>>,
    /// Names of calls that fail.
    pub(crate) broken: RefCell<BTreeSet<&'static str>>,
    /// What a process of the node has.
    pub(crate) taken: RefCell<Option<Taken>>,
    /// Endpoints to which connections were ended.
    pub(crate) severed: RefCell<Vec<u32>>,
    pub(crate) clock: Cell<Duration>,
    pub(crate) filter: Cell<Option<TraceFilter>>,
    pub(crate) asked: RefCell<Option<flow::Filter>>,
}

impl Fake {
    pub(crate) const GROUP: u32 = 0x5700_0002;

    pub(crate) fn add_link(&self, name: &str, ifindex: u32) {
        let link = HostLink { ifindex, name: name.to_owned(), group: Self::GROUP };
        self.links.borrow_mut().insert(name.to_owned(), link);
    }

    async fn call(&self, name: &'static str) -> Result<(), KernelError> {
        // As netlink does: something else runs meanwhile.
        tokio::task::yield_now().await;
        if self.broken.borrow().contains(name) { Err(KernelError::Staged(name)) } else { Ok(()) }
    }
}

impl Kernel for Fake {
    fn publish(&self, _live: &[Endpoint]) -> Result<(), KernelError> {
        Ok(())
    }

    async fn attach(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.call("attach").await?;
        if !self.links.borrow().values().any(|link| link.ifindex == endpoint.spec.host_ifindex) {
            return Err(KernelError::Staged("no such device"));
        }
        self.attached.borrow_mut().insert(endpoint.id, endpoint.clone());
        Ok(())
    }

    async fn detach(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.call("detach").await?;
        self.attached.borrow_mut().remove(&endpoint.id);
        Ok(())
    }

    async fn verify(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.call("verify").await?;
        if self.attached.borrow().get(&endpoint.id) == Some(endpoint) {
            Ok(())
        } else {
            Err(KernelError::Staged("not attached"))
        }
    }

    async fn limit(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.call("limit").await?;
        match self.attached.borrow_mut().get_mut(&endpoint.id) {
            Some(attached) => attached.spec.bandwidth = endpoint.spec.bandwidth,
            None => return Err(KernelError::Staged("not attached")),
        }
        Ok(())
    }

    fn limit_use(&self, endpoint_id: u32) -> Result<Option<LimitUse>, KernelError> {
        let sent = |_| LimitCounters { sent_packets: 3, ..LimitCounters::default() };
        let attached = self.attached.borrow();
        let limits = attached.get(&endpoint_id).map(|endpoint| endpoint.spec.bandwidth);
        let limits = limits.filter(|limits| !limits.is_unlimited());
        Ok(limits
            .map(|Bandwidth { ingress, egress }| LimitUse { ingress: ingress.map(sent), egress: egress.map(sent) }))
    }

    async fn taken(&self, ports: &[PortMapping]) -> Result<Option<Taken>, KernelError> {
        self.call("taken").await?;
        Ok(self.taken.borrow().clone().filter(|taken| taken.index < ports.len()))
    }

    fn sever(&self, endpoint: &Endpoint) {
        assert!(!self.attached.borrow().contains_key(&endpoint.id), "after it is detached");
        self.severed.borrow_mut().push(endpoint.id);
    }

    fn sweep(&self, live: &[Endpoint]) -> Result<usize, KernelError> {
        let mut attached = self.attached.borrow_mut();
        let before = attached.len();
        attached.retain(|_, endpoint| live.contains(endpoint));
        Ok(before - attached.len())
    }

    async fn own_links(&self) -> Result<Vec<HostLink>, KernelError> {
        self.call("own_links").await?;
        Ok(self.links.borrow().values().filter(|link| link.group == Self::GROUP).cloned().collect())
    }

    async fn link(&self, name: &str) -> Result<Option<HostLink>, KernelError> {
        self.call("link").await?;
        Ok(self.links.borrow().get(name).cloned())
    }

    async fn remove_link(&self, name: &str) -> Result<(), KernelError> {
        self.call("remove_link").await?;
        self.links.borrow_mut().remove(name);
        Ok(())
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, KernelError> {
        self.call("addresses").await?;
        Ok(vec!["192.0.2.1".parse().unwrap()])
    }

    fn pod_mtu(&self) -> u32 {
        1450
    }

    fn bandwidth(&self) -> BandwidthStatus {
        BandwidthStatus { method: "htb".into(), ..BandwidthStatus::default() }
    }

    fn maps(&self) -> Result<Vec<MapInfo>, KernelError> {
        Ok(vec![MapInfo {
            name: "pods".into(),
            kind: "hash".into(),
            key_size: 16,
            value_size: 24,
            max_entries: 8192,
            entries: Some(self.attached.borrow().len() as u64),
            pinned: "/sys/fs/bpf/weft/v1/pods".into(),
        }])
    }

    fn dump(&self, map: &str) -> Result<Option<Vec<serde_json::Value>>, KernelError> {
        Ok((map == "pods").then(Vec::new))
    }

    fn verdicts(&self) -> Result<Vec<VerdictCount>, KernelError> {
        let (reason, direction) = ("source-mac".into(), "egress".into());
        Ok(vec![VerdictCount { reason, direction, drop: true, packets: 2, bytes: 84 }])
    }

    async fn flows(&self, filter: flow::Filter, _timeouts: Timeouts) -> Result<Flows, KernelError> {
        self.call("flows").await?;
        self.asked.replace(Some(filter));
        Ok(Flows { flows: Vec::new(), matching: 0, total: 0 })
    }

    async fn mappings(&self, _limit: usize) -> Result<Vec<Mapping>, KernelError> {
        self.call("mappings").await?;
        Ok(Vec::new())
    }

    fn exhausted(&self) -> Result<Vec<Exhausted>, KernelError> {
        Ok(Vec::new())
    }

    fn trace(&self, filter: Option<TraceFilter>) -> Result<(), KernelError> {
        self.filter.set(filter);
        Ok(())
    }

    fn ports_status(&self) -> PortsStatus {
        PortsStatus::default()
    }

    fn attach_name(&self) -> &'static str {
        "tcx"
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn boottime(&self) -> Duration {
        self.clock.get()
    }
}
