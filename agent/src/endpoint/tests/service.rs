//! Ports of the node and limits: who gets them, who is refused, and what a change leaves behind.

use weft_cni::api::{PodRef, PortMapping, PortProtocol, RateLimit};

use crate::node::{Holder, Listener, Taken};

use super::*;

fn port(host: &str, host_port: u16, protocol: PortProtocol) -> PortMapping {
    PortMapping { host_ip: host.parse().ok(), host_port, container_port: 80, protocol }
}

fn tcp(host_port: u16) -> PortMapping {
    port("", host_port, PortProtocol::Tcp)
}

fn limit(rate: u64) -> Bandwidth {
    Bandwidth { ingress: None, egress: Some(RateLimit { rate, burst: 0 }) }
}

/// A pod with these ports and limits, as far as it gets.
async fn publish(
    node: &Node,
    container: &str,
    ifindex: u32,
    ports: &[PortMapping],
    bandwidth: Bandwidth,
) -> Result<(), EndpointError> {
    let pod = PodRef { namespace: "shop".into(), name: container.into(), uid: None };
    let lease = node.lease(LeaseRequest { pod: Some(pod), ..request(container) }).await?;
    make_link(node, container, ifindex);
    let addresses = lease.addresses;
    let spec = EndpointSpec { addresses, ports: ports.to_vec(), bandwidth, ..spec(container, ifindex, &[]) };
    node.hand_over(&key(container), spec).await.map(|_| ())
}

#[test]
fn ports_are_told_and_go_with_their_endpoint() {
    let fixture = Fixture::new();
    run(async {
        let mut node = fixture.agent().await;
        let mappings = [port("::", 443, PortProtocol::Tcp), port("127.0.0.1", 53, PortProtocol::Udp), tcp(8080)];
        publish(&node, "web", 5, &mappings, Bandwidth::default()).await.unwrap();
        node = fixture.restart(node).await;
        let told: Vec<_> = node.ports().iter().map(|port| (port.mapping.host_port, port.addresses.len())).collect();
        assert_eq!(told, [(53, 1), (443, 1), (8080, 2)]);
        assert_eq!(node.ports()[1].addresses[0].to_string(), "fd00::2");
        assert!(node.kernel.severed.borrow().is_empty());
        let id = node.get(&key("web")).unwrap().id;
        node.remove(&key("web")).await.unwrap();
        assert!(node.ports().is_empty());
        assert_eq!(*node.kernel.severed.borrow(), [id]);
        add(&node, "plain", 6).await;
        node.remove(&key("plain")).await.unwrap();
        assert_eq!(node.kernel.severed.borrow().len(), 1, "nobody connects to a pod by a port that it has not");
    });
}

#[test]
fn a_port_of_another_pod_is_refused_and_the_holder_named() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        publish(&node, "web", 5, &[tcp(8080)], Bandwidth::default()).await.unwrap();
        let wanted = [tcp(8081), port("192.0.2.1", 8080, PortProtocol::Tcp)];
        let error = publish(&node, "late", 6, &wanted, Bandwidth::default()).await.unwrap_err();
        let text = error.to_string();
        for part in ["portMappings[1].hostPort", "tcp 192.0.2.1:8080", "pod shop/web", "container web/eth0"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(node.get(&key("late")).unwrap().stage, Stage::Leased);
        assert_eq!((node.ports().len(), node.kernel.attached.borrow().len()), (1, 1));

        let beside = [port("", 8080, PortProtocol::Udp), tcp(8081)];
        publish(&node, "beside", 7, &beside, Bandwidth::default()).await.unwrap();
        node.remove(&key("web")).await.unwrap();
        publish(&node, "heir", 8, &[tcp(8080)], Bandwidth::default()).await.unwrap();
    });
}

#[test]
fn of_many_that_want_a_port_at_once_one_gets_it() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let mut adds = JoinSet::new();
        for number in 0..20 {
            let node = Rc::clone(&node);
            adds.spawn_local(async move {
                publish(&node, &format!("c{number}"), 100 + number, &[tcp(8080)], Bandwidth::default()).await
            });
        }
        let refused = adds.join_all().await.into_iter().filter_map(Result::err);
        assert_eq!(refused.filter(|error| matches!(error, EndpointError::PortOfPod { .. })).count(), 19);
        assert_eq!(node.ports().len(), 1);
    });
}

#[test]
fn a_port_of_a_process_is_refused_and_the_process_named() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let listener = Listener::new(PortProtocol::Tcp, "127.0.0.1".parse().ok(), 8080);
        let holder = Holder::Process { name: "nginx".into(), pid: 321 };
        node.kernel.taken.replace(Some(Taken { index: 0, listener, holder }));
        let text = publish(&node, "web", 5, &[tcp(8080)], Bandwidth::default()).await.unwrap_err().to_string();
        for part in ["portMappings[0].hostPort", "tcp port 8080", "nginx (pid 321)", "tcp 127.0.0.1:8080"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(node.ports().is_empty() && node.kernel.attached.borrow().is_empty());
        publish(&node, "plain", 6, &[], Bandwidth::default()).await.unwrap();
        node.kernel.broken.borrow_mut().insert("taken");
        let error = publish(&node, "db", 7, &[tcp(1)], Bandwidth::default()).await.unwrap_err();
        assert!(matches!(error, EndpointError::Sockets { .. }), "{error}");
    });
}

#[test]
fn impossible_ports_and_limits_are_refused_by_name() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        let free = Bandwidth::default();
        for (at, (ports, bandwidth, part)) in [
            (vec![tcp(1), tcp(0)], free, "portMappings[1].hostPort is 0"),
            (vec![PortMapping { container_port: 0, ..tcp(1) }], free, "portMappings[0].containerPort is 0"),
            (vec![port("ff02::1", 1, PortProtocol::Tcp)], free, "portMappings[0].hostIP is ff02::1"),
            (vec![tcp(1), port("::1", 1, PortProtocol::Tcp)], free, "portMappings[1].hostPort asks for tcp [::1]:1"),
            (Vec::new(), limit(0), "bandwidth.egress: 0 bit/s"),
            (Vec::new(), limit(u64::MAX), "bandwidth.egress: 18446744073709551615 bit/s"),
        ]
        .into_iter()
        .enumerate()
        {
            let error = publish(&node, &format!("c{at}"), 5, &ports, bandwidth).await.unwrap_err().to_string();
            assert!(error.starts_with(part), "{error}");
        }
        node.lease(adopted("four")).await.unwrap();
        node.kernel.add_link("veth0", 6);
        let ports = vec![port("::", 80, PortProtocol::Tcp)];
        let spec = EndpointSpec { host_ifname: "veth0".into(), ports, ..spec("four", 6, &["192.0.2.9"]) };
        let error = node.hand_over(&key("four"), spec.clone()).await.unwrap_err().to_string();
        assert!(error.starts_with("portMappings[0].hostIP is ::, but the pod has no IPv6"), "{error}");
        let ports = vec![tcp(80), port("0.0.0.0", 81, PortProtocol::Tcp)];
        node.hand_over(&key("four"), EndpointSpec { ports, ..spec }).await.unwrap();
        assert_eq!(node.ports()[0].addresses.len(), 1, "of the one family that it has");
    });
}

#[test]
fn limits_change_on_disk_and_in_the_kernel_or_not_at_all() {
    let fixture = Fixture::new();
    run(async {
        let mut node = fixture.agent().await;
        publish(&node, "web", 5, &[], limit(1_000_000)).await.unwrap();
        let info = node.get(&key("web")).unwrap();
        assert_eq!(info.limits.unwrap().egress.unwrap().sent_packets, 3);
        assert!(info.limits.unwrap().ingress.is_none());
        let after = node.set_bandwidth(&key("web"), limit(2_000_000)).await.unwrap();
        assert_eq!(after.endpoint.unwrap().bandwidth, limit(2_000_000));
        node.kernel.broken.borrow_mut().insert("limit");
        let error = node.set_bandwidth(&key("web"), limit(3_000_000)).await.unwrap_err();
        assert!(matches!(error, EndpointError::Limit { .. }), "{error}");
        node.kernel.broken.borrow_mut().clear();
        let error = node.set_bandwidth(&key("web"), limit(1)).await.unwrap_err();
        assert!(matches!(error, EndpointError::Invalid { .. }), "{error}");
        node = fixture.restart(node).await;
        let now = |node: &Node| node.get(&key("web")).unwrap().endpoint.unwrap().bandwidth;
        assert_eq!(now(&node), limit(2_000_000));
        node.check(&key("web"), &CheckRequest { addresses: Vec::new() }).await.unwrap();

        let after = node.set_bandwidth(&key("web"), Bandwidth::default()).await.unwrap();
        assert!(after.limits.is_none() && now(&node).is_unlimited());
        node.lease(request("young")).await.unwrap();
        let error = node.set_bandwidth(&key("young"), limit(1000)).await.unwrap_err();
        assert!(matches!(error, EndpointError::NotReady { .. }), "{error}");
        let error = node.set_bandwidth(&key("nobody"), limit(1000)).await.unwrap_err();
        assert!(matches!(error, EndpointError::NotFound { .. }), "{error}");
    });
}

#[test]
fn check_tells_when_limits_or_ports_are_not_what_the_record_says() {
    let fixture = Fixture::new();
    run(async {
        let node = fixture.agent().await;
        publish(&node, "web", 5, &[tcp(8080)], limit(1_000_000)).await.unwrap();
        let check = async || node.check(&key("web"), &CheckRequest { addresses: Vec::new() }).await;
        check().await.unwrap();
        for spoil in [
            |spec: &mut EndpointSpec| spec.ports.clear(),
            |spec: &mut EndpointSpec| spec.bandwidth = Bandwidth::default(),
        ] {
            node.kernel.attached.borrow_mut().values_mut().for_each(|endpoint| spoil(&mut endpoint.spec));
            assert!(matches!(check().await, Err(EndpointError::NotWhole { .. })));
            node.reconcile().await;
            check().await.unwrap();
        }
    });
}
