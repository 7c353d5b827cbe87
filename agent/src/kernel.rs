//! The one door to the kernel for all that decides; tests put another behind it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use weft_abi::TraceFilter;
use weft_cni::api::{
    Bandwidth, BandwidthStatus, Exhausted, Flows, LimitUse, MapInfo, Mapping, PortMapping, PortsStatus, VerdictCount,
};

use crate::capability;
use crate::datapath::{Datapath, DatapathError};
use crate::endpoint::Endpoint;
use crate::flow::{self, Timeouts};
use crate::node::{HostLink, Node, NodeError, Taken};
use crate::peer::View;
use crate::shaping::Shaping;
use crate::text;

/// The kernel refused, or is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Programs and maps.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// Devices and routes.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The thread that made the call is gone.
    #[error("the call was abandoned")]
    Abandoned(#[from] tokio::task::JoinError),
    /// A failure that a test ordered.
    #[cfg(test)]
    #[error("{0}")]
    Staged(&'static str),
}

/// What the agent asks of the kernel, in terms of endpoints and links.
pub(crate) trait Kernel: 'static {
    /// Writes the map entries of every endpoint there is, before the first of them is attached anew.
    fn publish(&self, live: &[Endpoint]) -> Result<(), KernelError>;
    /// Joins the endpoint: programs, map entries, the node's routes. Does what is missing and nothing else.
    async fn attach(&self, endpoint: &Endpoint) -> Result<(), KernelError>;
    /// Takes programs and map entries away; the node's routes go with the link.
    async fn detach(&self, endpoint: &Endpoint) -> Result<(), KernelError>;
    /// Compares everything that [`Kernel::attach`] made with the endpoint; the first difference is the error.
    async fn verify(&self, endpoint: &Endpoint) -> Result<(), KernelError>;
    /// Makes the limits what the endpoint says.
    async fn limit(&self, endpoint: &Endpoint) -> Result<(), KernelError>;
    /// What came of an endpoint's limits; none of one that has none.
    fn limit_use(&self, endpoint_id: u32) -> Result<Option<LimitUse>, KernelError>;
    /// What holds limits, and of how many.
    fn bandwidth(&self) -> BandwidthStatus;
    /// The first of these ports that a process of the node has.
    async fn taken(&self, ports: &[PortMapping]) -> Result<Option<Taken>, KernelError>;
    /// Begins to end the node's connections to the endpoint, which is detached.
    fn sever(&self, endpoint: &Endpoint);
    /// Removes map entries and pins that belong to none of these endpoints; returns how many.
    fn sweep(&self, live: &[Endpoint]) -> Result<usize, KernelError>;
    /// Every link of the agent's group.
    async fn own_links(&self) -> Result<Vec<HostLink>, KernelError>;
    /// The link of that name, of whatever group.
    async fn link(&self, name: &str) -> Result<Option<HostLink>, KernelError>;
    /// Removes a link of the agent's group; one that is gone is no error.
    async fn remove_link(&self, name: &str) -> Result<(), KernelError>;
    /// Addresses of the node.
    async fn addresses(&self) -> Result<Vec<IpAddr>, KernelError>;
    /// MTU in bytes that the ways off the node leave to new pods.
    fn pod_mtu(&self) -> u32;
    /// Every map of the datapath.
    fn maps(&self) -> Result<Vec<MapInfo>, KernelError>;
    /// Entries of a map; `None` for a map that is not the datapath's.
    fn dump(&self, map: &str) -> Result<Option<Vec<serde_json::Value>>, KernelError>;
    /// Verdicts that were counted at least once.
    fn verdicts(&self) -> Result<Vec<VerdictCount>, KernelError>;
    /// Flows that match, with the time that is left to them.
    async fn flows(&self, filter: flow::Filter, timeouts: Timeouts) -> Result<Flows, KernelError>;
    /// Translations, at most so many.
    async fn mappings(&self, limit: usize) -> Result<Vec<Mapping>, KernelError>;
    /// Destinations towards which ports ran out.
    fn exhausted(&self) -> Result<Vec<Exhausted>, KernelError>;
    /// Has the programs tell of the packets that the filter matches, or of none.
    fn trace(&self, filter: Option<TraceFilter>) -> Result<(), KernelError>;
    /// How processes of the node reach ports of the node; without the number of mappings.
    fn ports_status(&self) -> PortsStatus;
    /// `tcx` or `clsact`.
    fn attach_name(&self) -> &'static str;
    /// What works, but not as well as it could; a sentence each.
    fn warnings(&self) -> Vec<String>;
    /// Time since boot, sleep included: `CLOCK_BOOTTIME`.
    fn boottime(&self) -> Duration;
}

/// The kernel of this node.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) datapath: Arc<Datapath>,
    pub(crate) node: Node,
    pub(crate) shaping: Rc<Shaping>,
    pub(crate) network: Rc<View>,
}

impl Host {
    /// Makes a call that may wait for the kernel's rtnl lock on a thread where nothing else waits for it.
    async fn blocking(
        &self,
        endpoint: &Endpoint,
        call: fn(&Datapath, &Endpoint) -> Result<(), DatapathError>,
    ) -> Result<(), KernelError> {
        let (datapath, endpoint) = (Arc::clone(&self.datapath), endpoint.clone());
        Ok(tokio::task::spawn_blocking(move || call(&datapath, &endpoint)).await??)
    }
}

impl Kernel for Host {
    fn publish(&self, live: &[Endpoint]) -> Result<(), KernelError> {
        Ok(self.datapath.publish(live)?)
    }

    async fn attach(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        // The programs first: no route leads to a pod that is not guarded yet.
        self.shaping.grant(endpoint).await?;
        self.blocking(endpoint, Datapath::attach).await?;
        self.shaping.withdraw(endpoint.id, endpoint.spec.bandwidth)?;
        Ok(self.node.connect(endpoint).await?)
    }

    async fn detach(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        let detached = self.blocking(endpoint, Datapath::detach).await;
        detached.and(self.shaping.withdraw(endpoint.id, Bandwidth::default()))
    }

    async fn verify(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.datapath.verify(endpoint)?;
        self.shaping.verify(endpoint).await?;
        Ok(self.node.verify(endpoint).await?)
    }

    async fn limit(&self, endpoint: &Endpoint) -> Result<(), KernelError> {
        self.shaping.grant(endpoint).await?;
        self.datapath.publish(std::slice::from_ref(endpoint))?;
        self.shaping.withdraw(endpoint.id, endpoint.spec.bandwidth)
    }

    fn limit_use(&self, endpoint_id: u32) -> Result<Option<LimitUse>, KernelError> {
        self.shaping.limit_use(endpoint_id)
    }

    fn bandwidth(&self) -> BandwidthStatus {
        self.shaping.status()
    }

    async fn taken(&self, ports: &[PortMapping]) -> Result<Option<Taken>, KernelError> {
        Ok(self.node.taken(ports.to_vec()).await?)
    }

    fn sever(&self, endpoint: &Endpoint) {
        self.node.sever(endpoint.spec.addresses.clone());
        if endpoint.spec.ports.is_empty() {
            return;
        }
        let (datapath, endpoint) = (Arc::clone(&self.datapath), endpoint.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = datapath.forget_flows(&endpoint) {
                log::warn!("flows of endpoint {} stay until they expire: {}", endpoint.id, text::chain(&error));
            }
        });
    }

    fn sweep(&self, live: &[Endpoint]) -> Result<usize, KernelError> {
        Ok(self.shaping.sweep(live)? + self.datapath.sweep(live)?)
    }

    async fn own_links(&self) -> Result<Vec<HostLink>, KernelError> {
        Ok(self.node.own_links().await?)
    }

    async fn link(&self, name: &str) -> Result<Option<HostLink>, KernelError> {
        Ok(self.node.link(name).await?)
    }

    async fn remove_link(&self, name: &str) -> Result<(), KernelError> {
        Ok(self.node.remove_link(name).await?)
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, KernelError> {
        Ok(self.node.addresses().await?)
    }

    fn pod_mtu(&self) -> u32 {
        self.network.pod_mtu()
    }

    fn maps(&self) -> Result<Vec<MapInfo>, KernelError> {
        Ok(self.datapath.maps()?)
    }

    fn dump(&self, map: &str) -> Result<Option<Vec<serde_json::Value>>, KernelError> {
        Ok(self.datapath.dump(map)?)
    }

    fn verdicts(&self) -> Result<Vec<VerdictCount>, KernelError> {
        Ok(self.datapath.verdicts()?)
    }

    async fn flows(&self, filter: flow::Filter, timeouts: Timeouts) -> Result<Flows, KernelError> {
        let datapath = Arc::clone(&self.datapath);
        let list = move || flow::flows(&*datapath, &filter, &timeouts, flow::tick_now());
        Ok(tokio::task::spawn_blocking(list).await??)
    }

    async fn mappings(&self, limit: usize) -> Result<Vec<Mapping>, KernelError> {
        let datapath = Arc::clone(&self.datapath);
        Ok(tokio::task::spawn_blocking(move || flow::mappings(&*datapath, limit, flow::tick_now())).await??)
    }

    fn exhausted(&self) -> Result<Vec<Exhausted>, KernelError> {
        Ok(flow::exhausted(self.datapath.exhausted()?))
    }

    fn trace(&self, filter: Option<TraceFilter>) -> Result<(), KernelError> {
        Ok(self.datapath.trace(filter)?)
    }

    fn ports_status(&self) -> PortsStatus {
        self.datapath.ports_status()
    }

    fn attach_name(&self) -> &'static str {
        self.datapath.attach_name()
    }

    fn warnings(&self) -> Vec<String> {
        let lacks = capability::warnings(capability::effective());
        [self.datapath.warnings(), self.node.warnings(), lacks].concat()
    }

    fn boottime(&self) -> Duration {
        // Only an unknown clock can fail, and this one is there since Linux 2.6.39.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
    }
}
