//! The life of attachments on a kernel that fails on order, over restarts of the agent.

mod lifecycle;
mod ranges;
mod reconcile;
mod service;

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};
use weft_cni::api::{
    AttachmentKey, Bandwidth, CheckRequest, EndpointSpec, GcRequest, IpamRequest, Lease, LeaseRequest, Origin, Stage,
};
use weft_cni::link::{host_ifname, host_mac, pod_mac};
use weft_cni::spool::{Release, Spool};

use crate::ipam::{IpamError, Pools};
use crate::run_dir::RunDir;

use super::fake::Fake;
use super::{EndpointError, Endpoints, Identity};

type Node = Rc<Endpoints<Fake>>;

fn key(container: &str) -> AttachmentKey {
    AttachmentKey { container_id: container.into(), ifname: "eth0".into() }
}

fn request(container: &str) -> LeaseRequest {
    LeaseRequest {
        key: key(container),
        network: "weft".into(),
        netns: format!("/run/netns/{container}"),
        origin: Origin::Created,
        ipam: IpamRequest::BuiltIn { ips: Vec::new(), ranges: Vec::new() },
        pod: None,
    }
}

fn adopted(container: &str) -> LeaseRequest {
    LeaseRequest { origin: Origin::Adopted, ipam: IpamRequest::Delegated, ..request(container) }
}

fn spec(container: &str, ifindex: u32, addresses: &[&str]) -> EndpointSpec {
    EndpointSpec {
        host_ifname: host_ifname(&key(container)),
        host_ifindex: ifindex,
        host_mac: host_mac(&key(container)),
        pod_mac: pod_mac(&key(container)),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        mtu: 1450,
        ports: Vec::new(),
        bandwidth: Bandwidth::default(),
    }
}

/// A run directory and the agents that follow each other on it.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        RunDir::new(dir.path().to_owned()).create().unwrap();
        Self { dir }
    }

    fn records(&self) -> usize {
        fs::read_dir(self.dir.path().join("attachments")).unwrap().count()
    }

    fn agent_on(&self, kernel: Fake, boot: &str) -> Node {
        self.agent_with(kernel, boot, &["10.0.0.0/24", "fd00::/64"])
    }

    fn agent_with(&self, kernel: Fake, boot: &str, ranges: &[&str]) -> Node {
        let run_dir = RunDir::new(self.dir.path().to_owned());
        let pools = Pools::new(&ranges.iter().map(|range| range.parse().unwrap()).collect::<Vec<_>>());
        let identity = Identity { link_group: Fake::GROUP, boot: boot.to_owned(), mtu: None };
        Rc::new(Endpoints::new(kernel, &run_dir, pools, identity))
    }

    async fn agent(&self) -> Node {
        let node = self.agent_on(Fake::default(), "this");
        node.restore().await.unwrap();
        node
    }

    /// Kills the agent and starts another in this boot; the kernel stays as it is.
    async fn restart(&self, node: Node) -> Node {
        self.restart_with(node, &["10.0.0.0/24", "fd00::/64"]).await
    }

    /// The same, with other pod ranges.
    async fn restart_with(&self, node: Node, ranges: &[&str]) -> Node {
        let next = self.agent_with(Rc::into_inner(node).unwrap().kernel, "this", ranges);
        next.restore().await.unwrap();
        next
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// What the plugin does between its two requests.
fn make_link(node: &Node, container: &str, ifindex: u32) {
    node.kernel.add_link(&host_ifname(&key(container)), ifindex);
}

async fn add(node: &Node, container: &str, ifindex: u32) -> Lease {
    let lease = node.lease(request(container)).await.unwrap();
    make_link(node, container, ifindex);
    let addresses: Vec<_> = lease.addresses.iter().map(ToString::to_string).collect();
    let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
    node.hand_over(&key(container), spec(container, ifindex, &texts)).await.unwrap();
    lease
}

fn used(node: &Node) -> u64 {
    node.pools()[0].used
}

fn pass(node: &Node, secs: u64) {
    node.kernel.clock.set(node.kernel.clock.get() + Duration::from_secs(secs));
}
