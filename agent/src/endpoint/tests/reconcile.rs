//! What a start and the timer make of records and links.

use super::*;

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
