//! Pods on different nodes, and nodes and pods of other nodes: nobody's address is changed.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_abi::{Direction, Reason};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::packet::read::{self, Transport};
use weft_tests::pod::Pod;
use weft_tests::program::OVERLAY_PORT;
use weft_tests::traffic::errors::Prober;
use weft_tests::traffic::{datagram, meet, ping, stream};
use weft_tests::{drops, exec, kernel, on_both_attachments, on_both_routings, on_every_fabric};

on_every_fabric!(
    every_pod_reaches_every_pod_under_its_own_address,
    nodes_and_pods_of_other_nodes_reach_each_other,
    only_tunnel_packets_or_only_plain_ones_are_on_the_wire,
    a_packet_too_big_for_the_way_is_answered,
    streams_arrive_whole_without_checksum_offload,
);
on_both_attachments!(an_ipv6_underlay_carries_both_families);
on_both_routings!(
    a_node_behind_a_router_is_reached,
    pods_get_the_mtu_that_the_way_leaves,
    one_way_traffic_finds_no_rule_of_ours
);

fn set(routing: Routing, attach: Attach) -> Result<(Fabric, Vec<Pod>)> {
    set_as(Layout::new(routing, attach))
}

fn set_as(layout: Layout) -> Result<(Fabric, Vec<Pod>)> {
    let fabric = Fabric::start(layout)?;
    let pods = fabric.pods()?;
    Ok((fabric, pods))
}

/// TCP, UDP, large UDP and SCTP from one namespace to another, each seen as from `from`.
fn must_talk(client: &Pod, server: &Pod, family: Family) -> Result<()> {
    let (from, to) = (client.address(family)?, server.address(family)?);
    ping::must_reach(client.netns(), to)?;
    let tcp = meet::Tcp::listen(server.netns(), to)?;
    let met = tcp.meet(client.netns(), tcp.address())?;
    ensure!(met.seen == met.client && met.seen.ip() == from, "TCP: {met:?}");
    let udp = meet::udp_socket(server.netns(), (to, 0).into())?;
    for size in [1, 1200, 4000] {
        let met = meet::udp(client.netns(), &udp, udp.local_addr()?, size).with_context(|| format!("{size} bytes"))?;
        ensure!(met.seen.ip() == from && met.seen.port() == met.client.port(), "UDP of {size} bytes: {met:?}");
    }
    let init =
        [[0x9c, 0x40, 0x0b, 0x59, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 1, 0, 0, 20].as_slice(), &[0; 16]].concat();
    datagram::raw(client.netns(), server.netns(), to, datagram::SCTP, &init)
}

fn every_pod_reaches_every_pod_under_its_own_address(routing: Routing, attach: Attach) -> Result<()> {
    let (_fabric, pods) = set(routing, attach)?;
    for family in Family::BOTH {
        for (from, client) in pods.iter().enumerate() {
            for (to, server) in pods.iter().enumerate() {
                must_talk(client, server, family)
                    .with_context(|| format!("{family:?} from a pod of n{} to one of n{}", from + 1, to + 1))?;
            }
        }
        stream::both_ways(pods[0].netns(), pods[1].netns(), pods[1].address(family)?, 16 << 20)?;
    }
    Ok(())
}

fn nodes_and_pods_of_other_nodes_reach_each_other(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    let node = fabric.node(1);
    for family in Family::BOTH {
        let own = [node.gateway(family), fabric.member(1).address(family)];
        let remote = pods[1].address(family)?;
        let listener = meet::Tcp::listen(pods[1].netns(), remote)?;
        let met =
            listener.meet(node.netns(), listener.address()).with_context(|| format!("{family:?}: node to pod"))?;
        ensure!(own.contains(&met.seen.ip()) && met.seen == met.client, "{met:?}");
        ping::must_reach(node.netns(), remote)?;
        stream::both_ways(node.netns(), pods[1].netns(), remote, 4 << 20)?;
        // The other way: to the node's address among its pods, as they are.
        ping::must_reach(pods[1].netns(), node.gateway(family))?;
        let listener = meet::Tcp::listen(node.netns(), node.gateway(family))?;
        let met = listener.meet(pods[1].netns(), listener.address())?;
        ensure!(met.seen.ip() == remote && met.seen == met.client, "{met:?}");
        stream::both_ways(pods[1].netns(), node.netns(), node.gateway(family), 4 << 20)?;
    }
    Ok(())
}

fn only_tunnel_packets_or_only_plain_ones_are_on_the_wire(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    for family in Family::BOTH {
        let (from, to) = (pods[0].address(family)?, pods[1].address(family)?);
        let wire = fabric.listen(fabric.member(2))?;
        let (counted, carried) = (drops::read(fabric.node(1))?, kernel::forwarded(fabric.node(1).netns())?);
        ping::must_reach(pods[0].netns(), to)?;
        // Past the node's stack, and so past its rules and its own look-ups.
        let forwarded = kernel::forwarded(fabric.node(1).netns())? - carried;
        ensure!(forwarded == 0, "{family:?}: the node's stack forwarded {forwarded} packets");
        let due = if routing == Routing::Overlay { Reason::Tunnelled } else { Reason::Routed };
        let count = |drops| drops::count(drops, due, Direction::Egress);
        let sent = count(&drops::read(fabric.node(1))?) - count(&counted);
        ensure!(sent >= 3, "{family:?}: {sent} packets were counted as {due:?}");
        let frames = wire.until_silent(Duration::from_millis(100))?;
        let plain = frames.iter().filter(|frame| read::is_between(frame, from, to)).count();
        let inner: Vec<_> = frames.iter().filter_map(|frame| read::tunnelled(frame, OVERLAY_PORT)).collect();
        let ours = inner.iter().filter(|one| read::is_between(&one.inner, from, to));
        match routing {
            Routing::Native => ensure!(plain >= 3 && inner.is_empty(), "{plain} plain and {} in tunnels", inner.len()),
            Routing::Overlay => {
                let ends = (fabric.member(1).address(Family::V4), fabric.member(2).address(Family::V4));
                ensure!(plain == 0, "{plain} packets outside the tunnel");
                let good = ours.filter(|one| one.vni == 1 && one.outer == ends).count();
                ensure!(good >= 3, "{good} of {} packets in the tunnel: {inner:?}", inner.len());
            }
        }
    }
    Ok(())
}

fn a_packet_too_big_for_the_way_is_answered(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach).world_mtu(1400))?;
    let wide = fabric.node(1).network().with("mtu", 1600.into());
    let pod = Pod::attach(fabric.node(1), &wide)?;
    let other = fabric.node(2).pod()?;
    for family in Family::BOTH {
        let v4 = family == Family::V4;
        let prober = Prober::open(pod.netns(), v4)?;
        prober.discover_mtu()?;
        prober.send((other.address(family)?, 9).into(), 1530)?;
        let error = prober.error().with_context(|| format!("{family:?}"))?;
        let expected = if routing == Routing::Overlay { 1450 } else { 1500 };
        ensure!((error.kind, error.info) == (if v4 { 3 } else { 2 }, expected), "{error:?}");
        // With that in mind, everything fits.
        stream::both_ways(pod.netns(), other.netns(), other.address(family)?, 1 << 20)?;
    }
    Ok(())
}

fn streams_arrive_whole_without_checksum_offload(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set(routing, attach)?;
    for (number, pod) in pods.iter().enumerate() {
        exec::tool_in(pod.netns(), "ethtool", &["-K", "eth0", "tx", "off"])?;
        let node = fabric.node(number + 1).netns();
        for device in kernel::devices(node)?.iter().filter(|name| !name.ends_with("-peer")) {
            exec::tool_in(node, "ethtool", &["-K", device, "tx", "off"]).with_context(|| device.clone())?;
        }
    }
    for family in Family::BOTH {
        must_talk(&pods[0], &pods[1], family)?;
        stream::both_ways(pods[0].netns(), pods[1].netns(), pods[1].address(family)?, 4 << 20)?;
        let world = fabric.world_address(family);
        stream::both_ways(pods[0].netns(), fabric.world(), world, 4 << 20).context("to the world")?;
        datagram::udp_echo(pods[0].netns(), fabric.world(), world, 4000).context("to the world")?;
    }
    Ok(())
}

fn an_ipv6_underlay_carries_both_families(attach: Attach) -> Result<()> {
    let (fabric, pods) = set_as(Layout::new(Routing::Overlay, attach).underlay(Family::V6))?;
    let mtu = &kernel::ip(pods[0].netns(), "link show eth0")?[0]["mtu"];
    ensure!(*mtu == 1430, "the pods' MTU is {mtu}");
    for family in Family::BOTH {
        let wire = fabric.listen(fabric.member(2))?;
        must_talk(&pods[0], &pods[1], family)?;
        must_talk(&pods[2], &pods[0], family)?;
        stream::both_ways(pods[0].netns(), pods[1].netns(), pods[1].address(family)?, 8 << 20)?;
        let ends = (fabric.member(1).address(Family::V6), fabric.member(2).address(Family::V6));
        let frame = wire.wait_for(Duration::from_secs(1), |frame| {
            read::tunnelled(frame, OVERLAY_PORT).is_some_and(|one| one.outer == ends)
        })?;
        ensure!(frame.is_some(), "no tunnel packet from {} to {}", ends.0, ends.1);
    }
    Ok(())
}

fn a_node_behind_a_router_is_reached(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set_as(Layout::new(routing, attach).far())?;
    for family in Family::BOTH {
        for (client, server) in [(0, 2), (2, 1), (1, 0)] {
            must_talk(&pods[client], &pods[server], family)
                .with_context(|| format!("{family:?} {client} to {server}"))?;
        }
        stream::both_ways(pods[0].netns(), pods[2].netns(), pods[2].address(family)?, 8 << 20)?;
    }
    if routing == Routing::Native {
        // What the network routes needs no route of ours.
        let routes = exec::tool_in(fabric.node(1).netns(), "ip", &["route"])?;
        ensure!(routes.contains("10.244.2.0/24 via 192.0.2.12"), "{routes}");
        ensure!(!routes.contains("10.244.3.0/24"), "{routes}");
    }
    Ok(())
}

fn pods_get_the_mtu_that_the_way_leaves(routing: Routing, attach: Attach) -> Result<()> {
    let (_fabric, pods) = set_as(Layout::new(routing, attach).nodes(2))?;
    let due = if routing == Routing::Overlay { 1450 } else { 1500 };
    for pod in &pods {
        let mtu = &kernel::ip(pod.netns(), "link show eth0")?[0]["mtu"];
        ensure!(*mtu == due, "a pod's MTU is {mtu}, {due} was due");
    }
    Ok(())
}

fn one_way_traffic_finds_no_rule_of_ours(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pods) = set_as(Layout::new(routing, attach))?;
    for family in Family::BOTH {
        must_talk(&pods[0], &pods[1], family)?;
        stream::both_ways(pods[0].netns(), fabric.world(), fabric.world_address(family), 1 << 20)?;
    }
    for member in fabric.members() {
        let netns = member.node().netns();
        for (name, args) in [("nft", &["list", "ruleset"][..]), ("iptables-save", &[]), ("ip6tables-save", &[])] {
            let text = exec::tool_in(netns, name, args)?;
            ensure!(text.lines().all(|line| line.starts_with('#') || line.is_empty()), "{name}: {text}");
        }
    }
    // Neither do packets of flows that need no conntrack leave any.
    let own: Vec<IpAddr> = Family::BOTH.iter().map(|family| pods[0].address(*family)).collect::<Result<_>>()?;
    let wire = fabric.listen(fabric.member(1))?;
    ping::must_reach(pods[0].netns(), fabric.world_address(Family::V4))?;
    let leaked = wire.until_silent(Duration::from_millis(50))?.into_iter().filter(|frame| {
        read::layers(frame).is_ok_and(|layers| layers.transport == Transport::Icmp && own.contains(&layers.src))
    });
    ensure!(leaked.count() == 0, "a pod's address left the node towards the world");
    Ok(())
}
