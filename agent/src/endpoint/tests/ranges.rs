//! Pod ranges that come late, and that change under running pods.

use super::*;

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn old_pods_keep_their_addresses_and_new_ones_get_new_ones() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let old = add(&node, "old", 5).await;
        node.set_ranges(&nets(&["10.7.0.0/24", "fd07::/64"])).await.unwrap();
        node.rejoin().await;
        assert_eq!(node.get(&key("old")).unwrap().addresses, old.addresses);
        assert_eq!(node.stray_addresses(), old.addresses);
        assert_eq!(node.strays().len(), 1);
        node.check(&key("old"), &CheckRequest { addresses: old.addresses.clone() }).await.unwrap();
        let new = add(&node, "new", 6).await;
        assert_eq!(new.addresses[0].to_string(), "10.7.0.2");

        // The old pod goes as any other does, and so does one after a restart of the agent.
        let node = fixture.restart_with(node, &["10.7.0.0/24", "fd07::/64"]).await;
        assert_eq!((node.count(), node.strays().len()), (2, 1));
        node.remove(&key("old")).await.unwrap();
        assert!(node.stray_addresses().is_empty() && node.kernel.attached.borrow().len() == 1);
        // Back to where it was: what lives there still is nobody else's.
        node.set_ranges(&nets(&["10.0.0.0/24"])).await.unwrap();
        node.set_ranges(&nets(&["10.7.0.0/24", "fd07::/64"])).await.unwrap();
        assert_eq!(add(&node, "third", 7).await.addresses[0].to_string(), "10.7.0.3");
    });
}

#[test]
fn without_ranges_an_add_comes_again_later() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent_with(Fake::default(), "this", &[]);
        node.restore().await.unwrap();
        assert!(!node.has_ranges());
        let refused = node.lease(request("early")).await.unwrap_err();
        assert!(matches!(refused, EndpointError::Ipam(IpamError::NoRange)), "{refused}");
        assert_eq!(fixture.records(), 0);
        // Another plugin needs none of ours.
        node.lease(adopted("chained")).await.unwrap();
        node.set_ranges(&nets(&["10.7.0.0/24"])).await.unwrap();
        assert!(node.has_ranges() && node.strays().is_empty());
        assert_eq!(add(&node, "early", 5).await.addresses[0].to_string(), "10.7.0.2");
    });
}

#[test]
fn an_old_range_does_not_give_a_node_address_to_a_pod() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent_with(Fake::default(), "this", &[]);
        node.restore().await.unwrap();
        // The node of the tests has 192.0.2.1.
        node.set_ranges(&nets(&["192.0.2.0/30"])).await.unwrap();
        assert_eq!(node.pools()[0].capacity, 1);
    });
}
