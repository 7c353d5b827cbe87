//! From where a published port is reached, and as whom its pod sees the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::publish::{self, CONTAINER_PORT, HOST_PORT, Published, Server};
use weft_tests::traffic::{datagram, meet};
use weft_tests::{exec, on_both_routings, on_every_fabric, wait};

use super::set;

on_every_fabric!(
    the_world_reaches_the_pod_as_itself,
    the_node_reaches_it_by_each_of_its_addresses,
    pods_of_the_node_reach_it_as_themselves,
    other_nodes_and_their_pods_reach_it,
    the_pod_reaches_itself,
);
on_both_routings!(
    without_cgroups_the_node_s_own_addresses_still_serve,
    where_nobody_listens_clients_are_refused,
    sctp_arrives,
    a_pod_s_own_loopback_stays_its_own,
);

/// The addresses of the first node.
fn addresses(fabric: &Fabric, family: Family) -> [IpAddr; 2] {
    [fabric.member(1).address(family), fabric.node(1).gateway(family)]
}

fn the_world_reaches_the_pod_as_itself(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod: _pod, server }) = set(routing, attach)?;
    for family in Family::BOTH {
        let target = SocketAddr::new(fabric.member(1).address(family), HOST_PORT);
        let seen = server.must_answer(fabric.world(), target)?;
        ensure!(seen == fabric.world_address(family), "seen as {seen}");
        let (_, _, met) = server.tcp.pair(fabric.world(), Some(41_000), target)?;
        ensure!(met.seen.port() == 41_000, "the client's port became {}", met.seen.port());
        server.must_carry(fabric.world(), target, 8 << 20)?;
        // Any port beside it stays the node's.
        publish::must_be_refused(fabric.world(), (target.ip(), HOST_PORT + 1).into())?;
        publish::must_be_refused(fabric.world(), (target.ip(), CONTAINER_PORT).into())?;
    }
    Ok(())
}

fn the_node_reaches_it_by_each_of_its_addresses(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod: _pod, server }) = set(routing, attach)?;
    let node = fabric.node(1).netns();
    for family in Family::BOTH {
        let own = addresses(&fabric, family);
        for address in own.into_iter().chain([publish::loopback(family)]) {
            let seen = server.must_answer(node, (address, HOST_PORT).into())?;
            ensure!(own.contains(&seen), "by {address} seen as {seen}");
            server.must_carry(node, (address, HOST_PORT).into(), 4 << 20)?;
        }
    }
    for mapped in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 11)].map(|address| address.to_ipv6_mapped()) {
        server.must_answer(node, (mapped, HOST_PORT).into()).context("a dual-stack socket")?;
    }
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        server.tcp.meet(node, (any, HOST_PORT).into()).with_context(|| format!("connect to {any}"))?;
    }
    // An address that came after the agent's start.
    exec::ip_batch(node, &["addr add 10.99.0.1/32 dev lo", "addr add fd00:99::1/128 dev lo nodad"])?;
    for late in ["10.99.0.1", "fd00:99::1"] {
        let target = SocketAddr::new(late.parse()?, HOST_PORT);
        let served = || server.tcp.meet(node, target).map(|_| true);
        wait::until("a late address serves", Duration::from_secs(2), served)?;
        server.must_answer(node, target)?;
    }
    Ok(())
}

fn pods_of_the_node_reach_it_as_themselves(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod: _pod, server }) = set(routing, attach)?;
    let other = fabric.node(1).pod()?;
    for family in Family::BOTH {
        for address in addresses(&fabric, family) {
            let seen = server.must_answer(other.netns(), (address, HOST_PORT).into())?;
            ensure!(seen == other.address(family)?, "by {address} seen as {seen}");
            server.must_carry(other.netns(), (address, HOST_PORT).into(), 4 << 20)?;
        }
    }
    Ok(())
}

fn other_nodes_and_their_pods_reach_it(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod: _pod, server }) = set(routing, attach)?;
    let far = fabric.node(2).pod()?;
    for family in Family::BOTH {
        let [uplink, gateway] = addresses(&fabric, family);
        let node = fabric.member(2).address(family);
        for client in [far.netns(), fabric.node(2).netns()] {
            let seen = server.must_answer(client, (uplink, HOST_PORT).into())?;
            ensure!(seen == node, "{} was seen as {seen}, {node} was due", client.name());
            server.must_carry(client, (uplink, HOST_PORT).into(), 2 << 20)?;
        }
        // By the node's address among its pods nothing is translated on the way.
        let seen = server.must_answer(far.netns(), (gateway, HOST_PORT).into())?;
        ensure!(seen == far.address(family)?, "seen as {seen}");
        server.must_answer(fabric.node(2).netns(), (gateway, HOST_PORT).into())?;
    }
    Ok(())
}

fn the_pod_reaches_itself(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(routing, attach)?;
    for family in Family::BOTH {
        for address in addresses(&fabric, family) {
            let seen = server.must_answer(pod.netns(), (address, HOST_PORT).into())?;
            // Its own address would never come back to it from outside.
            ensure!(seen == address, "by {address} seen as {seen}");
            server.must_carry(pod.netns(), (address, HOST_PORT).into(), 4 << 20)?;
        }
    }
    Ok(())
}

fn without_cgroups_the_node_s_own_addresses_still_serve(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(2).without_cgroups())?;
    let node = fabric.node(1);
    let Published { pod, server } = Published::attach(node)?;
    for family in Family::BOTH {
        let own = addresses(&fabric, family);
        for address in own {
            let seen = server.must_answer(node.netns(), (address, HOST_PORT).into())?;
            ensure!(own.contains(&seen), "by {address} seen as {seen}");
            server.must_carry(node.netns(), (address, HOST_PORT).into(), 2 << 20)?;
        }
        server.must_not_answer(node.netns(), (publish::loopback(family), HOST_PORT).into())?;
        server.must_answer(fabric.world(), (own[0], HOST_PORT).into())?;
        server.must_answer(pod.netns(), (own[0], HOST_PORT).into())?;
    }
    let status = node.weft_json(&["status"])?;
    ensure!(status["ready"] == true && status.to_string().contains("cgroup"), "nothing of cgroups: {status}");
    Ok(())
}

fn where_nobody_listens_clients_are_refused(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(routing, attach)?;
    meet::let_go(pod.netns(), CONTAINER_PORT, server)?;
    let other = fabric.node(1).pod()?;
    for family in Family::BOTH {
        let [uplink, _] = addresses(&fabric, family);
        for client in [fabric.world(), other.netns(), fabric.node(1).netns(), fabric.node(2).netns(), pod.netns()] {
            publish::must_be_refused(client, (uplink, HOST_PORT).into()).context(client.name().to_owned())?;
        }
        publish::must_be_refused(fabric.node(1).netns(), (publish::loopback(family), HOST_PORT).into())?;
    }
    Ok(())
}

/// The checksum of SCTP covers the ports and not the addresses, so the port is the same on both sides here.
fn sctp_arrives(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(1))?;
    let node = fabric.node(1);
    let pod = Published::attach_with(node, &node.network(), &[publish::mapping(2905, 2905, "sctp")])?.pod;
    // INIT from port 40000 to port 2905.
    let init =
        [[0x9c, 0x40, 0x0b, 0x59, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 1, 0, 0, 20].as_slice(), &[0; 16]].concat();
    for family in Family::BOTH {
        let address = fabric.member(1).address(family);
        datagram::raw(fabric.world(), pod.netns(), address, datagram::SCTP, &init)
            .with_context(|| format!("{family:?}"))?;
    }
    Ok(())
}

fn a_pod_s_own_loopback_stays_its_own(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(routing, attach)?;
    let other = fabric.node(1).pod()?;
    for netns in [pod.netns(), other.netns()] {
        let own = Server::listen(netns, HOST_PORT)?;
        for family in Family::BOTH {
            own.must_answer(netns, (publish::loopback(family), HOST_PORT).into())?;
        }
        meet::let_go(netns, HOST_PORT, own)?;
        server.must_not_answer(netns, (publish::loopback(Family::V4), HOST_PORT).into())?;
    }
    Ok(())
}
