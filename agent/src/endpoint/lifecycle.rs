//! How an attachment comes, is checked, and goes.
//!
//! A record is written before the thing that it describes exists, and removed after that thing is gone, so that a
//! process that dies anywhere in between leaves nothing that a record does not tell of.

use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::JoinSet;
use weft_cni::api::{
    AttachmentKey, CheckRequest, EndpointInfo, EndpointSpec, GcReply, GcRequest, IpamRequest, Lease, LeaseRequest,
    Origin,
};
use weft_cni::link::host_ifname;

use crate::ipam::{IpamError, Request};
use crate::kernel::Kernel;
use crate::text;

use super::error::show;
use super::limits::warn_of_small_bursts;
use super::spec::{check_endpoint, check_lease};
use super::{Endpoint, EndpointError, Endpoints, Record};

impl<K: Kernel> Endpoints<K> {
    /// Grants addresses and a name for the host interface; the record is on disk when this returns.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> Result<Lease, EndpointError> {
        check_lease(&request)?;
        let LeaseRequest { key, network, netns, origin, ipam, pod } = request;
        let name = host_ifname(&key);
        let _turn = self.locks.acquire(&name).await;
        if let Some(other) = self.records.borrow().get(&name).map(|record| record.key.clone()) {
            let taken = other != key;
            return Err(if taken { EndpointError::NameTaken { key, other } } else { EndpointError::Exists { key } });
        }
        let leased = match &ipam {
            IpamRequest::BuiltIn { ips, ranges } => {
                let granted = self.pools.borrow_mut().lease(Request { ips, ranges }, self.now());
                granted.map_err(|error| self.with_holder(error))?
            }
            IpamRequest::Delegated => Vec::new(),
        };
        let record = Record {
            id: self.next_id(),
            key,
            network,
            netns,
            origin,
            pod,
            leased: leased.clone(),
            endpoint: None,
            boot: self.identity.boot.clone(),
            created_ns: u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX),
        };
        if let Err(error) = self.store.write(&record) {
            self.pools.borrow_mut().cancel(&leased);
            return Err(error.into());
        }
        log::debug!("{}: leased {leased:?}", show(&record.key));
        self.records.borrow_mut().insert(name.clone(), record);
        Ok(Lease { addresses: leased, host_ifname: name, link_group: self.identity.link_group, mtu: self.pod_mtu() })
    }

    /// Joins an endpoint whose interface exists now; packets flow when this returns. On failure the attachment is
    /// as leased as before.
    pub(crate) async fn hand_over(
        &self,
        key: &AttachmentKey,
        spec: EndpointSpec,
    ) -> Result<EndpointInfo, EndpointError> {
        let _turn = self.locks.acquire(&host_ifname(key)).await;
        let leased = self.find(key).ok_or_else(|| EndpointError::NotFound { key: key.clone() })?;
        match &leased.endpoint {
            Some(same) if *same == spec => return Ok(self.info(&leased)),
            Some(_) => return Err(EndpointError::Exists { key: key.clone() }),
            None => check_endpoint(&leased, &spec)?,
        }
        self.refuse_ports_of_processes(&spec.ports).await?;
        // From here to the record nothing is waited for: nobody else can claim the same port meanwhile.
        self.refuse_ports_of_pods(&spec.ports)?;
        warn_of_small_bursts(key, &spec);
        let chosen_elsewhere = leased.leased.is_empty();
        if chosen_elsewhere {
            self.hold(&spec.addresses)?;
        }
        let ready = Record { endpoint: Some(spec), ..leased.clone() };
        match self.join(&ready).await {
            Ok(()) => {
                log::info!("{}: joined with {:?}", show(key), ready.addresses());
                Ok(self.info(&ready))
            }
            Err(error) => {
                if chosen_elsewhere {
                    self.pools.borrow_mut().cancel(ready.addresses());
                }
                Err(error)
            }
        }
    }

    /// Compares kernel and maps with the record, and the record with what ADD returned.
    pub(crate) async fn check(&self, key: &AttachmentKey, request: &CheckRequest) -> Result<(), EndpointError> {
        let _turn = self.locks.acquire(&host_ifname(key)).await;
        let record = self.find(key).ok_or_else(|| EndpointError::NotFound { key: key.clone() })?;
        let endpoint = record.endpoint().ok_or_else(|| EndpointError::NotReady { key: key.clone() })?;
        if let Some(addr) = request.addresses.iter().find(|addr| !record.holds(**addr)) {
            return Err(EndpointError::NotItsAddress { key: key.clone(), addr: *addr });
        }
        let verified = self.kernel.verify(&endpoint).await;
        verified.map_err(|source| EndpointError::NotWhole { key: key.clone(), source: source.into() })
    }

    /// Removes an attachment whole; one that is unknown is no error, and a link that it left is removed.
    pub(crate) async fn remove(&self, key: &AttachmentKey) -> Result<(), EndpointError> {
        let name = host_ifname(key);
        let _turn = self.locks.acquire(&name).await;
        if let Some(record) = self.find(key) {
            return self.tear_down(&name, &record).await;
        }
        if self.records.borrow().contains_key(&name) {
            // The link is another attachment's.
            return Ok(());
        }
        let removed = self.kernel.remove_link(&name).await;
        removed.map_err(|error| EndpointError::Remove { key: key.clone(), errors: vec![error] })
    }

    /// Removes every attachment of a network that is not listed, and goes on past errors.
    pub(crate) async fn collect_garbage(self: &Rc<Self>, request: &GcRequest) -> GcReply {
        let records = self.records.borrow().clone();
        let garbage = records
            .into_iter()
            .filter(|(_, record)| record.network == request.network && !request.valid.contains(&record.key));
        let mut reply = GcReply { removed: Vec::new(), errors: Vec::new() };
        for (record, outcome) in self.remove_all(garbage.collect()).await {
            match outcome {
                Ok(()) => reply.removed.push(record.key),
                Err(error) => reply.errors.push(text::chain(&error)),
            }
        }
        reply
    }

    /// Removes these side by side, so that their links go in few requests; one that was replaced meanwhile stays.
    pub(super) async fn remove_all(
        self: &Rc<Self>,
        doomed: Vec<(String, Record)>,
    ) -> Vec<(Record, Result<(), EndpointError>)> {
        let mut removals = JoinSet::new();
        for (name, record) in doomed {
            let endpoints = Rc::clone(self);
            removals.spawn_local(async move {
                let _turn = endpoints.locks.acquire(&name).await;
                let stands = endpoints.records.borrow().get(&name) == Some(&record);
                let outcome = if stands { endpoints.tear_down(&name, &record).await } else { Ok(()) };
                (record, outcome)
            });
        }
        removals.join_all().await
    }

    /// Everything of an attachment, to the end and past errors; its record and addresses only when all else is gone.
    pub(super) async fn tear_down(&self, name: &str, record: &Record) -> Result<(), EndpointError> {
        let mut errors = Vec::new();
        if record.origin == Origin::Created {
            // First the link: it takes its programs along, and the pod is never without them.
            errors.extend(self.kernel.remove_link(name).await.err());
        }
        let endpoint = record.endpoint();
        if let Some(endpoint) = &endpoint {
            errors.extend(self.kernel.detach(endpoint).await.err());
        }
        if !errors.is_empty() {
            return Err(EndpointError::Remove { key: record.key.clone(), errors });
        }
        if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.spec.ports.is_empty()) {
            self.kernel.sever(&endpoint);
        }
        self.store.remove(name)?;
        self.records.borrow_mut().remove(name);
        self.troubles.borrow_mut().remove(name);
        self.pools.borrow_mut().release(record.addresses(), self.now());
        log::info!("{}: removed, {:?} released", show(&record.key), record.addresses());
        Ok(())
    }

    /// Record, then kernel; both back to what they were when the kernel refuses.
    async fn join(&self, ready: &Record) -> Result<(), EndpointError> {
        let leased = Record { endpoint: None, ..ready.clone() };
        let Some(endpoint) = ready.endpoint() else { return Ok(()) };
        self.store.write(ready)?;
        self.put(ready.clone());
        let Err(source) = self.kernel.attach(&endpoint).await else { return Ok(()) };
        self.unjoin(&endpoint, leased).await;
        Err(EndpointError::Attach { key: ready.key.clone(), source: source.into() })
    }

    async fn unjoin(&self, endpoint: &Endpoint, leased: Record) {
        if let Err(error) = self.kernel.detach(endpoint).await {
            log::warn!("{}: {}", show(&leased.key), text::chain(&error));
        }
        // Should this fail, the next start finds an endpoint without link, or attaches one that its DEL removes.
        if let Err(error) = self.store.write(&leased) {
            log::warn!("{}", text::chain(&error));
        }
        self.put(leased);
    }

    pub(super) fn put(&self, record: Record) {
        self.records.borrow_mut().insert(host_ifname(&record.key), record);
    }

    /// Keeps addresses that another plugin chose out of everyone else's hands.
    fn hold(&self, addresses: &[IpAddr]) -> Result<(), EndpointError> {
        for (at, addr) in addresses.iter().enumerate() {
            let held = match self.holder(*addr) {
                Some(holder) => Err(EndpointError::InUse { addr: *addr, holder }),
                None => self.pools.borrow_mut().hold(*addr).map_err(EndpointError::from),
            };
            if let Err(error) = held {
                self.pools.borrow_mut().cancel(&addresses[..at]);
                return Err(error);
            }
        }
        Ok(())
    }

    fn with_holder(&self, error: IpamError) -> EndpointError {
        match error {
            IpamError::InUse { addr } => match self.holder(addr) {
                Some(holder) => EndpointError::InUse { addr, holder },
                None => error.into(),
            },
            _ => error.into(),
        }
    }
}
