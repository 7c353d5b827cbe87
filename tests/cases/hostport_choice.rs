//! Which addresses and ports a mapping means, and which it leaves alone.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weft_tests::fabric::{Fabric, Layout, Member, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::Pod;
use weft_tests::publish::{self, CONTAINER_PORT, HOST_PORT, Published, Server, mapping};
use weft_tests::traffic::meet;
use weft_tests::{exec, on_both_attachments, wait};

use super::doomed;

on_both_attachments!(
    an_address_means_what_it_says,
    several_mappings_lead_each_to_its_port,
    a_port_that_a_process_of_the_node_has_stays_its_own,
);

fn fabric(attach: Attach) -> Result<Fabric> {
    Fabric::start(Layout::new(Routing::Native, attach).nodes(1))
}

/// Who asks the node by which of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The world, by the uplink's.
    World,
    /// The node itself, by the uplink's.
    Uplink,
    /// The node itself, by the one it has among its pods.
    Gateway,
    /// The node itself, by the loopback one.
    Loopback,
    /// Another pod, by the uplink's.
    Pod,
}

const ALL: [Asked; 5] = [Asked::World, Asked::Uplink, Asked::Gateway, Asked::Loopback, Asked::Pod];
const BY_UPLINK: [Asked; 3] = [Asked::World, Asked::Uplink, Asked::Pod];

/// `hostIP`, and who is served by it, with IPv4 and with IPv6.
const CHOICES: [(Option<&str>, &[Asked], &[Asked]); 8] = [
    (None, &ALL, &ALL),
    (Some(""), &ALL, &ALL),
    (Some("0.0.0.0"), &ALL, &[]),
    (Some("::"), &[], &ALL),
    (Some("192.0.2.11"), &BY_UPLINK, &[]),
    (Some("2001:db8::11"), &[], &BY_UPLINK),
    (Some("127.0.0.1"), &[Asked::Loopback], &[]),
    (Some("::1"), &[], &[Asked::Loopback]),
];

fn an_address_means_what_it_says(attach: Attach) -> Result<()> {
    let fabric = fabric(attach)?;
    let node = fabric.node(1);
    let other = node.pod()?;
    for (host_ip, v4, v6) in CHOICES {
        let Published { pod, server } = Published::attach_with(node, &node.network(), &publish::usual(host_ip))
            .with_context(|| format!("{host_ip:?}"))?;
        for (family, served) in [(Family::V4, v4), (Family::V6, v6)] {
            for asked in ALL {
                let (client, address) = match asked {
                    Asked::World => (fabric.world(), fabric.member(1).address(family)),
                    Asked::Uplink => (node.netns(), fabric.member(1).address(family)),
                    Asked::Gateway => (node.netns(), node.gateway(family)),
                    Asked::Loopback => (node.netns(), publish::loopback(family)),
                    Asked::Pod => (other.netns(), fabric.member(1).address(family)),
                };
                let target = SocketAddr::new(address, HOST_PORT);
                let answer = if served.contains(&asked) {
                    server.must_answer(client, target).map(drop)
                } else {
                    server.must_not_answer(client, target)
                };
                answer.with_context(|| format!("hostIP {host_ip:?}, {asked:?}, {family:?}"))?;
            }
        }
        pod.check(node)?;
        pod.del(node)?;
        publish::must_be_gone(node).with_context(|| format!("{host_ip:?}"))?;
    }
    Ok(())
}

fn several_mappings_lead_each_to_its_port(attach: Attach) -> Result<()> {
    let fabric = fabric(attach)?;
    let node = fabric.node(1);
    let mappings = [
        mapping(31_000, 8081, "tcp"),
        mapping(31_000, 8082, "udp"),
        mapping(31_001, 8083, "TCP"),
        json!({ "hostPort": 31_002, "containerPort": 8081 }),
        json!({ "hostPort": 31_003, "containerPort": 8084, "protocol": "udp", "hostIP": "192.0.2.11" }),
    ];
    let pod = Published::attach_with(node, &node.network(), &mappings)?.pod;
    let servers = (8081..=8084).map(|port| Server::listen(pod.netns(), port)).collect::<Result<Vec<_>>>()?;
    for family in Family::BOTH {
        let own = fabric.member(1).address(family);
        for client in [fabric.world(), node.netns()] {
            for (port, server) in [(31_000, 0), (31_001, 2), (31_002, 0)] {
                servers[server].tcp.meet(client, (own, port).into()).with_context(|| format!("TCP port {port}"))?;
            }
            meet::udp(client, &servers[1].udp, (own, 31_000).into(), 100).context("UDP beside TCP")?;
            if family == Family::V4 {
                meet::udp(client, &servers[3].udp, (own, 31_003).into(), 100).context("one address")?;
            }
        }
        servers[2].must_not_answer(fabric.world(), (own, 31_003).into())?;
    }
    let listed = publish::listed(node)?;
    let due = [(31_000, "tcp"), (31_000, "udp"), (31_001, "tcp"), (31_002, "tcp"), (31_003, "udp")];
    ensure!(listed == due.map(|(port, protocol)| (port, protocol.to_owned())), "{listed:?}");
    pod.check(node)
}

fn a_port_that_a_process_of_the_node_has_stays_its_own(attach: Attach) -> Result<()> {
    let fabric = fabric(attach)?;
    let node = fabric.node(1);
    let Published { pod: _pod, server } = Published::attach(node)?;
    let other = node.pod()?;
    let clients: [&Netns; 3] = [fabric.world(), node.netns(), other.netns()];
    for family in Family::BOTH {
        let own = fabric.member(1).address(family);
        let target = SocketAddr::new(own, HOST_PORT);
        // A process that came later than the mapping.
        let process =
            Server { tcp: meet::Tcp::listen_at(node.netns(), target)?, udp: meet::udp_socket(node.netns(), target)? };
        for client in clients {
            process.must_answer(client, target).context("a process of the node has the port")?;
        }
        server.must_answer(node.netns(), (publish::loopback(family), HOST_PORT).into())?;
        meet::let_go(node.netns(), HOST_PORT, process)?;
        for client in clients {
            server.must_answer(client, target).context("the process has gone")?;
        }
        // The node's own flows from that port.
        let world = Server::listen(fabric.world(), 7100)?;
        let there = SocketAddr::new(fabric.world_address(family), 7100);
        let (_, _, met) = world.tcp.pair(node.netns(), Some(HOST_PORT), there).context("TCP from that port")?;
        ensure!(met.seen == target, "{met:?}");
        let asking = meet::udp_socket(node.netns(), target)?;
        let met = meet::udp_from(&asking, &world.udp, there, 100).context("UDP from that port")?;
        ensure!(met.seen == target, "{met:?}");
        meet::let_go(node.netns(), HOST_PORT, asking)?;
        // A pod's flow out into the world that keeps that very port.
        let (_, _, met) =
            world.tcp.pair(other.netns(), Some(HOST_PORT), there).context("a pod's flow from that port")?;
        ensure!(met.seen.ip() == own, "{met:?}");
        server.must_answer(fabric.world(), target).context("after flows from that port")?;
    }
    Ok(())
}

#[test]
fn a_wrong_mapping_is_named() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let fine = mapping(31_000, 80, "tcp");
    let cases = [
        (json!([fine, { "hostPort": 0, "containerPort": 80 }]), "hostPort"),
        (json!([fine, { "hostPort": 65_536, "containerPort": 80 }]), "hostPort"),
        (json!([fine, { "hostPort": -1, "containerPort": 80 }]), "hostPort"),
        (json!([fine, { "containerPort": 80 }]), "hostPort"),
        (json!([fine, { "hostPort": 80, "containerPort": 0 }]), "containerPort"),
        (json!([fine, { "hostPort": 80, "containerPort": 70_000 }]), "containerPort"),
        (json!([fine, { "hostPort": 80 }]), "containerPort"),
        (json!([fine, { "hostPort": 80, "containerPort": 80, "protocol": "icmp" }]), "protocol"),
        (json!([fine, { "hostPort": 80, "containerPort": 80, "hostIP": "eth0" }]), "hostIP"),
    ];
    for (mappings, field) in cases {
        let error = doomed(&node, &mappings)?.to_string();
        ensure!(error.contains("portMappings[1]") && error.contains(field), "{mappings}: {error}");
    }
    let error = doomed(&node, &json!([fine, mapping(31_000, 81, "tcp")]))?.to_string();
    ensure!(error.contains("31000"), "twice in one request: {error}");
    Ok(())
}

#[test]
fn a_mapping_of_a_family_that_the_pod_has_not_is_named() -> Result<()> {
    let settings = Settings::new(Attach::preferred()).pools(&["10.244.0.0/24"]);
    let node = Node::start_with(settings)?;
    for host_ip in ["::", "::1", "2001:db8::11"] {
        let error = doomed(&node, &json!(publish::usual(Some(host_ip))))?.to_string();
        ensure!(error.contains(host_ip) || error.contains("IPv6"), "{host_ip}: {error}");
    }
    let pod = Pod::attach(&node, &publish::asking(&node.network(), &publish::usual(None)))?;
    ensure!(publish::entries(&node)? == 2, "an entry for each protocol of the one family");
    let server = Server::listen(pod.netns(), CONTAINER_PORT)?;
    server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    // The one family's mapping is nothing to the other.
    server.must_not_answer(node.netns(), (publish::loopback(Family::V6), HOST_PORT).into())
}

#[test]
fn an_address_that_the_node_has_not_yet_serves_once_it_comes() -> Result<()> {
    let fabric = fabric(Attach::preferred())?;
    let node = fabric.node(1);
    let Published { pod: _pod, server } =
        Published::attach_with(node, &node.network(), &publish::usual(Some("192.0.2.77")))?;
    let target: SocketAddr = "192.0.2.77:30080".parse()?;
    exec::ip_batch(node.netns(), &[&format!("addr add 192.0.2.77/24 dev {}", Member::UPLINK)])?;
    let reached = || server.tcp.meet(fabric.world(), target).map(|_| true);
    wait::until("the address serves", Duration::from_secs(2), reached)?;
    server.must_answer(fabric.world(), target)?;
    server.must_answer(node.netns(), target)?;
    Ok(())
}
