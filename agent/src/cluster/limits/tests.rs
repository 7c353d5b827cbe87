//! Annotations that come, change and go, on a kernel that is none.

use tempfile::TempDir;
use weft_cni::api::{AttachmentKey, EndpointSpec, IpamRequest, LeaseRequest, Origin, PodRef, RateLimit};
use weft_cni::link::{host_ifname, host_mac, pod_mac};

use crate::endpoint::Identity;
use crate::endpoint::fake::Fake;
use crate::ipam::Pools;
use crate::k8s::Phase;
use crate::run_dir::RunDir;

use super::*;

fn mega(rate: u64) -> Bandwidth {
    Bandwidth { ingress: None, egress: Some(RateLimit { rate: rate * 1_000_000, burst: 0 }) }
}

fn key(name: &str) -> AttachmentKey {
    AttachmentKey { container_id: name.into(), ifname: "eth0".into() }
}

/// A node, and what is learnt of its pods.
struct Fixture {
    endpoints: Endpoints<Fake>,
    pods: Pods,
    applied: BTreeMap<PodName, Applied>,
    troubles: Troubles,
    _dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path().to_owned());
        run_dir.create().unwrap();
        let pools = Pools::new(&["10.0.0.0/24".parse().unwrap()]);
        let identity = Identity { link_group: Fake::GROUP, boot: "b".into(), mtu: Some(1400) };
        let endpoints = Endpoints::new(Fake::default(), &run_dir, pools, identity);
        let (pods, applied, troubles) = (Pods::default(), BTreeMap::new(), Troubles::default());
        Self { endpoints, pods, applied, troubles, _dir: dir }
    }

    async fn join(&self, name: &str, uid: &str, bandwidth: Bandwidth) {
        let pod = PodRef { namespace: "ns".into(), name: name.into(), uid: Some(uid.into()) };
        let request = LeaseRequest {
            key: key(name),
            network: "weft".into(),
            netns: format!("/run/netns/{name}"),
            origin: Origin::Created,
            ipam: IpamRequest::BuiltIn { ips: Vec::new(), ranges: Vec::new() },
            pod: Some(pod),
        };
        let lease = self.endpoints.lease(request).await.unwrap();
        let kernel = self.endpoints.kernel();
        let index = u32::try_from(kernel.links.borrow().len()).unwrap() + 5;
        kernel.add_link(&host_ifname(&key(name)), index);
        let spec = EndpointSpec {
            host_ifname: host_ifname(&key(name)),
            host_ifindex: index,
            host_mac: host_mac(&key(name)),
            pod_mac: pod_mac(&key(name)),
            addresses: lease.addresses,
            mtu: 1400,
            ports: Vec::new(),
            bandwidth,
        };
        self.endpoints.hand_over(&key(name), spec).await.unwrap();
    }

    fn say(&mut self, name: &str, uid: &str, bandwidth: Result<Option<Bandwidth>, String>) {
        let pod = Pod {
            uid: uid.into(),
            labels: BTreeMap::new(),
            bandwidth,
            host_network: false,
            addresses: Box::default(),
            phase: Phase::Running,
            deleting: false,
        };
        self.pods.by_name.insert(PodName { namespace: "ns".into(), name: name.into() }, pod);
    }

    async fn round(&mut self) {
        round(&self.endpoints, &self.pods, &mut self.applied, &self.troubles).await;
    }

    fn limits(&self, name: &str) -> Bandwidth {
        self.endpoints.get(&key(name)).unwrap().endpoint.unwrap().bandwidth
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

#[test]
fn an_annotation_counts_whenever_it_changes() {
    run(async {
        let mut node = Fixture::new();
        node.say("a", "1", Ok(Some(mega(10))));
        node.round().await;
        node.join("a", "1", mega(10)).await;
        node.round().await;
        assert_eq!(node.limits("a"), mega(10));
        node.say("a", "1", Ok(Some(mega(20))));
        node.round().await;
        assert_eq!(node.limits("a"), mega(20));
        // What an operator sets stands until the annotation changes again.
        node.endpoints.set_bandwidth(&key("a"), mega(7)).await.unwrap();
        node.round().await;
        assert_eq!(node.limits("a"), mega(7));
        node.say("a", "1", Ok(None));
        node.round().await;
        assert!(node.limits("a").is_unlimited());
    });
}

#[test]
fn at_first_sight_an_annotation_wins_and_its_lack_changes_nothing() {
    run(async {
        let mut node = Fixture::new();
        node.join("limited", "1", mega(10)).await;
        node.join("bare", "2", mega(10)).await;
        node.say("limited", "1", Ok(Some(mega(30))));
        node.say("bare", "2", Ok(None));
        node.round().await;
        assert_eq!((node.limits("limited"), node.limits("bare")), (mega(30), mega(10)));
        node.say("bare", "2", Ok(Some(mega(40))));
        node.round().await;
        assert_eq!(node.limits("bare"), mega(40));
    });
}

#[test]
fn the_pod_that_follows_under_a_name_is_another() {
    run(async {
        let mut node = Fixture::new();
        node.join("a", "old", mega(10)).await;
        node.say("a", "new", Ok(Some(mega(20))));
        node.round().await;
        assert_eq!(node.limits("a"), mega(10));
        node.endpoints.remove(&key("a")).await.unwrap();
        node.join("a", "new", Bandwidth::default()).await;
        node.round().await;
        assert_eq!(node.limits("a"), mega(20));
    });
}

#[test]
fn what_fails_is_told_and_tried_again() {
    run(async {
        let mut node = Fixture::new();
        let told = |node: &Fixture| node.troubles.limits.borrow().values().cloned().collect::<Vec<_>>();
        node.join("a", "1", mega(10)).await;
        node.say("a", "1", Err("kubernetes.io/egress-bandwidth \"fast\" is no rate".into()));
        node.round().await;
        assert!(told(&node)[0].starts_with("pod ns/a: kubernetes.io/egress-bandwidth"), "{:?}", told(&node));
        assert_eq!(node.limits("a"), mega(10));
        node.say("a", "1", Ok(Some(mega(20))));
        node.endpoints.kernel().broken.borrow_mut().insert("limit");
        node.round().await;
        assert!(told(&node)[0].contains("a/eth0") && node.limits("a") == mega(10), "{:?}", told(&node));
        node.endpoints.kernel().broken.borrow_mut().clear();
        node.round().await;
        assert!(told(&node).is_empty() && node.limits("a") == mega(20));
        node.say("a", "1", Err("again".into()));
        node.round().await;
        node.pods.by_name.clear();
        node.round().await;
        assert!(told(&node).is_empty());
    });
}
