//! The life of attachments on a kernel that fails on order, over restarts of the agent.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};
use weft_cni::api::{
    AttachmentKey, CheckRequest, EndpointSpec, GcRequest, IpamRequest, Lease, LeaseRequest, Origin, Stage,
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
        let run_dir = RunDir::new(self.dir.path().to_owned());
        let pools = Pools::new(&["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()]);
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
        let next = self.agent_on(Rc::into_inner(node).unwrap().kernel, "this");
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

#[test]
fn an_attachment_comes_and_goes() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let lease = node.lease(request("a")).await.unwrap();
        assert_eq!((lease.mtu, lease.addresses.len(), fixture.records()), (1450, 2, 1));
        assert_eq!(node.get(&key("a")).unwrap().stage, Stage::Leased);
        make_link(&node, "a", 5);
        let ready = spec("a", 5, &["10.0.0.2", "fd00::2"]);
        assert_eq!(node.hand_over(&key("a"), ready.clone()).await.unwrap().stage, Stage::Ready);
        node.hand_over(&key("a"), ready).await.unwrap();
        assert_eq!(node.by_ifindex(5), Some(key("a")));
        node.check(&key("a"), &CheckRequest { addresses: vec!["10.0.0.2".parse().unwrap()] }).await.unwrap();
        let other = CheckRequest { addresses: vec!["10.0.0.3".parse().unwrap()] };
        assert!(matches!(node.check(&key("a"), &other).await, Err(EndpointError::NotItsAddress { .. })));

        node.remove(&key("a")).await.unwrap();
        node.remove(&key("a")).await.unwrap();
        assert_eq!((fixture.records(), used(&node), node.count()), (0, 0, 0));
        assert!(node.kernel.links.borrow().is_empty() && node.kernel.attached.borrow().is_empty());
        assert!(matches!(node.get(&key("a")), Err(EndpointError::NotFound { .. })));
    });
}

#[test]
fn wrong_requests_leave_nothing() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        for (container, ifname) in
            [("", "eth0"), ("a\n", "eth0"), ("../x", "eth0"), ("a", ""), ("a", "a/b"), ("a", "..")]
        {
            let key = AttachmentKey { container_id: container.into(), ifname: ifname.into() };
            let refused = node.lease(LeaseRequest { key, ..request("x") }).await;
            assert!(matches!(refused, Err(EndpointError::Invalid { .. })), "{container:?} {ifname:?}");
        }
        node.lease(request("a")).await.unwrap();
        assert!(matches!(node.lease(request("a")).await, Err(EndpointError::Exists { .. })));
        make_link(&node, "a", 5);
        let good = spec("a", 5, &["10.0.0.2", "fd00::2"]);
        for bad in [
            EndpointSpec { host_ifname: "eth0".into(), ..good.clone() },
            EndpointSpec { host_ifindex: 0, ..good.clone() },
            EndpointSpec { addresses: vec![good.addresses[0]], ..good.clone() },
            EndpointSpec { addresses: Vec::new(), ..good.clone() },
            EndpointSpec { pod_mac: "01:00:5e:00:00:01".parse().unwrap(), ..good.clone() },
        ] {
            assert!(matches!(node.hand_over(&key("a"), bad).await, Err(EndpointError::Invalid { .. })));
        }
        assert!(matches!(node.hand_over(&key("b"), good.clone()).await, Err(EndpointError::NotFound { .. })));
        assert!(node.kernel.attached.borrow().is_empty());
        node.hand_over(&key("a"), good).await.unwrap();
    });
}

#[test]
fn a_refused_endpoint_is_as_leased_as_before() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let lease = node.lease(request("a")).await.unwrap();
        make_link(&node, "a", 5);
        node.kernel.broken.borrow_mut().insert("attach");
        let ready = spec("a", 5, &["10.0.0.2", "fd00::2"]);
        let error = node.hand_over(&key("a"), ready.clone()).await.unwrap_err();
        assert!(matches!(error, EndpointError::Attach { .. }));
        assert_eq!(node.get(&key("a")).unwrap().stage, Stage::Leased);
        let again = fixture.agent_on(Fake::default(), "this");
        assert!(again.store.peek()[0].endpoint.is_none(), "on disk, too");
        node.kernel.broken.borrow_mut().clear();
        assert_eq!(node.hand_over(&key("a"), ready).await.unwrap().addresses, lease.addresses);
    });
}

#[test]
fn what_cannot_be_removed_keeps_its_record_and_addresses() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        add(&node, "a", 5).await;
        for call in ["detach", "remove_link"] {
            node.kernel.broken.borrow_mut().insert(call);
            let error = node.remove(&key("a")).await.unwrap_err();
            assert!(error.to_string().contains(call), "{error}");
            node.kernel.broken.borrow_mut().clear();
            assert_eq!((fixture.records(), used(&node)), (1, 1));
        }
        node.remove(&key("a")).await.unwrap();
        assert_eq!((fixture.records(), used(&node)), (0, 0));
    });
}

#[test]
fn a_record_that_cannot_be_written_grants_nothing() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        fs::remove_dir(fixture.dir.path().join("attachments")).unwrap();
        assert!(matches!(node.lease(request("a")).await, Err(EndpointError::Store(_))));
        assert_eq!((used(&node), node.count()), (0, 0));
        fs::create_dir(fixture.dir.path().join("attachments")).unwrap();
        assert_eq!(node.lease(request("a")).await.unwrap().addresses[0].to_string(), "10.0.0.3");
    });
}

#[test]
fn addresses_that_others_choose_are_nobody_elses() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        add(&node, "a", 5).await;
        node.lease(adopted("b")).await.unwrap();
        node.kernel.add_link("veth0", 6);
        let adopt = |addresses: &[&str]| EndpointSpec { host_ifname: "veth0".into(), ..spec("b", 6, addresses) };
        let error = node.hand_over(&key("b"), adopt(&["10.0.0.77", "10.0.0.2"])).await.unwrap_err();
        assert!(error.to_string().contains("a/eth0"), "{error}");
        assert_eq!(used(&node), 1, "nothing of the refused one is held");
        let gateway = node.hand_over(&key("b"), adopt(&["10.0.0.1"])).await.unwrap_err();
        assert!(matches!(gateway, EndpointError::Ipam(IpamError::Reserved { .. })));

        node.hand_over(&key("b"), adopt(&["10.0.0.3", "192.0.2.9"])).await.unwrap();
        assert_eq!(used(&node), 2);
        let ips = vec!["10.0.0.3".parse().unwrap()];
        let wants = LeaseRequest { ipam: IpamRequest::BuiltIn { ips, ranges: Vec::new() }, ..request("c") };
        assert!(node.lease(wants).await.unwrap_err().to_string().contains("b/eth0"));
        node.lease(adopted("d")).await.unwrap();
        let elsewhere = EndpointSpec { host_ifname: "veth1".into(), ..spec("d", 7, &["192.0.2.9"]) };
        assert!(matches!(node.hand_over(&key("d"), elsewhere).await, Err(EndpointError::InUse { .. })));

        node.remove(&key("b")).await.unwrap();
        assert_eq!(used(&node), 1);
        assert!(node.kernel.links.borrow().contains_key("veth0"), "another plugin made it and removes it");
    });
}

#[test]
fn many_at_once_get_distinct_addresses() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let mut adds = JoinSet::new();
        for number in 0..200 {
            let node = Rc::clone(&node);
            adds.spawn_local(async move { add(&node, &format!("c{number}"), 100 + number).await.addresses });
        }
        let mut addresses = adds.join_all().await.concat();
        addresses.sort();
        addresses.dedup();
        assert_eq!((addresses.len(), fixture.records(), node.kernel.attached.borrow().len()), (400, 200, 200));

        let valid = (0..150).map(|number| key(&format!("c{number}"))).collect();
        let reply = node.collect_garbage(&GcRequest { network: "weft".into(), valid }).await;
        assert_eq!((reply.removed.len(), reply.errors.len(), node.count()), (50, 0, 150));
        let other = GcRequest { network: "other".into(), valid: Vec::new() };
        assert!(node.collect_garbage(&other).await.removed.is_empty());
        node.kernel.broken.borrow_mut().insert("remove_link");
        let reply = node.collect_garbage(&GcRequest { network: "weft".into(), valid: Vec::new() }).await;
        assert_eq!((reply.removed.len(), reply.errors.len(), node.count()), (0, 150, 150));
    });
}

#[test]
fn requests_for_one_attachment_take_turns() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        for round in 0..20 {
            node.lease(request("a")).await.unwrap();
            make_link(&node, "a", 5 + round);
            let addresses: Vec<_> = node.get(&key("a")).unwrap().addresses.iter().map(ToString::to_string).collect();
            let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
            let ready = spec("a", 5 + round, &texts);
            let key = key("a");
            let (joined, removed) = tokio::join!(node.hand_over(&key, ready), node.remove(&key));
            assert!(joined.is_ok() && removed.is_ok());
            assert!(node.kernel.attached.borrow().is_empty() && node.kernel.links.borrow().is_empty());
            assert_eq!((node.count(), used(&node)), (0, 0));
        }
    });
}

#[test]
fn a_restart_keeps_what_is_whole_and_removes_the_rest() {
    let fixture = Fixture::new();
    run(async {
        let mut node = fixture.agent().await;
        let whole = add(&node, "whole", 5).await;
        add(&node, "lost", 6).await;
        node.lease(request("leased")).await.unwrap();
        node.lease(request("linked")).await.unwrap();
        make_link(&node, "linked", 7);
        make_link(&node, "orphan", 8);
        node.kernel.links.borrow_mut().remove(&host_ifname(&key("lost")));
        node.kernel.add_link("eth0", 2);
        node.kernel.links.borrow_mut().get_mut("eth0").unwrap().group = 0;
        node.kernel.attached.borrow_mut().clear();

        node = fixture.restart(node).await;
        assert_eq!((node.count(), fixture.records(), used(&node)), (1, 1, 1));
        assert_eq!(node.get(&key("whole")).unwrap().addresses, whole.addresses);
        assert_eq!(node.kernel.attached.borrow().len(), 1, "attached anew");
        let links: Vec<_> = node.kernel.links.borrow().keys().cloned().collect();
        assert_eq!(links, ["eth0".to_owned(), host_ifname(&key("whole"))]);
        assert!(matches!(
            node.hand_over(&key("linked"), spec("linked", 7, &["10.0.0.5", "fd00::5"])).await,
            Err(EndpointError::NotFound { .. })
        ));
        assert_ne!(node.lease(request("new")).await.unwrap().addresses, whole.addresses);
    });
}

#[test]
fn another_boot_forgets() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        add(&node, "a", 5).await;
        let next = fixture.agent_on(Fake::default(), "next");
        next.restore().await.unwrap();
        assert_eq!((next.count(), fixture.records(), used(&next)), (0, 0, 0));
    });
}

#[test]
fn the_timer_leaves_running_adds_alone() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        add(&node, "whole", 5).await;
        node.lease(request("slow")).await.unwrap();
        make_link(&node, "orphan", 8);
        pass(&node, 59);
        node.reconcile().await;
        assert_eq!((node.count(), node.kernel.links.borrow().len()), (2, 1));
        make_link(&node, "slow", 9);
        pass(&node, 1);
        node.reconcile().await;
        assert_eq!((node.count(), node.kernel.links.borrow().len(), used(&node)), (1, 1, 1));
    });
}

#[test]
fn the_timer_mends_and_tells_what_it_cannot() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        add(&node, "a", 5).await;
        add(&node, "gone", 6).await;
        node.kernel.attached.borrow_mut().clear();
        node.kernel.links.borrow_mut().remove(&host_ifname(&key("gone")));
        node.kernel.broken.borrow_mut().insert("attach");
        node.reconcile().await;
        assert_eq!(node.count(), 1);
        assert!(node.troubles()[0].contains("a/eth0"), "{:?}", node.troubles());
        node.kernel.broken.borrow_mut().clear();
        node.reconcile().await;
        assert!(node.troubles().is_empty());
        assert_eq!(node.kernel.attached.borrow().len(), 1);
        // Somebody made another interface of that name: it is not what was handed over.
        make_link(&node, "a", 50);
        node.reconcile().await;
        assert_eq!((node.count(), node.kernel.links.borrow().len()), (0, 0));
    });
}

#[test]
fn spooled_releases_are_done_once() {
    let fixture = Fixture::new();
    run(async {
        let mut node = fixture.agent().await;
        let spool = Spool::new(fixture.dir.path());
        let release = |container: &str, at: Duration| Release {
            key: key(container),
            boot: "this".into(),
            released_ns: u64::try_from(at.as_nanos()).unwrap(),
        };
        node.lease(adopted("adopted")).await.unwrap();
        node.kernel.add_link("veth0", 6);
        let adopt = EndpointSpec { host_ifname: "veth0".into(), ..spec("adopted", 6, &["192.0.2.9"]) };
        node.hand_over(&key("adopted"), adopt).await.unwrap();
        spool.add(&release("adopted", Duration::from_secs(5))).unwrap();
        spool.add(&release("unknown", Duration::from_secs(5))).unwrap();
        fs::write(fixture.dir.path().join("spool/weftbad.json"), "{").unwrap();
        pass(&node, 10);
        add(&node, "newer", 7).await;
        spool.add(&release("newer", Duration::from_secs(5))).unwrap();

        node = fixture.restart(node).await;
        assert!(spool.list().unwrap().is_empty());
        assert!(matches!(node.get(&key("adopted")), Err(EndpointError::NotFound { .. })));
        assert_eq!((node.count(), node.kernel.attached.borrow().len()), (1, 1), "an old release spares a new one");

        spool.add(&release("newer", Duration::from_secs(20))).unwrap();
        node.kernel.broken.borrow_mut().insert("remove_link");
        node.reconcile().await;
        assert_eq!(spool.list().unwrap().len(), 1, "tried again");
        node.kernel.broken.borrow_mut().clear();
        node.reconcile().await;
        assert_eq!((spool.list().unwrap().len(), node.count()), (0, 0));
    });
}
