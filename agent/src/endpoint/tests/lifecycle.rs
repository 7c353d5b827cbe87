//! What a request does to an attachment, and what is left of it when something fails.

use super::*;

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
