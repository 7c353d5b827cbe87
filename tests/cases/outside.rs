//! Pods and the world: under the node's address, there and back.

mod outside_reordered;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::fabric::{Fabric, Layout, Member, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::packet::{FrameSocket, read};
use weft_tests::pod::Pod;
use weft_tests::traffic::errors::Prober;
use weft_tests::traffic::meet::{self, Tcp};
use weft_tests::traffic::{ping, stream};
use weft_tests::{exec, kernel, on_both_routings, on_every_fabric};

on_every_fabric!(
    the_world_sees_the_node_and_answers_reach_the_pod,
    two_pods_with_one_port_talk_to_one_server,
    icmp_errors_reach_the_pod,
    fragments_travel_both_ways,
    addresses_of_nodes_are_reached,
    answers_by_another_uplink_arrive,
    a_port_that_the_node_has_is_not_taken,
    a_port_that_a_pod_s_flow_has_is_not_lost_to_the_node,
);
on_both_routings!(
    a_flow_from_the_world_is_answered_as_the_pod,
    exempt_ranges_see_the_pod,
    without_masquerade_pods_are_routed,
    a_packet_s_way_is_captured,
);

fn set(routing: Routing, attach: Attach) -> Result<(Fabric, Pod)> {
    set_as(Layout::new(routing, attach))
}

fn set_as(layout: Layout) -> Result<(Fabric, Pod)> {
    let fabric = Fabric::start(layout)?;
    let pod = fabric.node(1).pod()?;
    Ok((fabric, pod))
}

/// A server in the world.
fn server(fabric: &Fabric, family: Family) -> Result<Tcp> {
    Tcp::listen(fabric.world(), fabric.world_address(family))
}

fn the_world_sees_the_node_and_answers_reach_the_pod(routing: Routing, attach: Attach) -> Result<()> {
    let fabric = Fabric::start(Layout::new(routing, attach))?;
    for member in fabric.members() {
        let pod = member.node().pod()?;
        for family in Family::BOTH {
            let (node, world) = (member.address(family), fabric.world_address(family));
            let wrong = |what| format!("{family:?}, {what} from a pod of n{}", member.number());
            ping::must_reach(pod.netns(), world).with_context(|| wrong("ping"))?;
            let tcp = server(&fabric, family)?;
            let met = tcp.meet(pod.netns(), tcp.address()).with_context(|| wrong("TCP"))?;
            ensure!(met.seen == SocketAddr::new(node, met.client.port()), "TCP: {met:?}");
            let udp = meet::udp_socket(fabric.world(), (world, 0).into())?;
            let met = meet::udp(pod.netns(), &udp, udp.local_addr()?, 1200).with_context(|| wrong("UDP"))?;
            ensure!(met.seen == SocketAddr::new(node, met.client.port()), "UDP: {met:?}");
            stream::both_ways(pod.netns(), fabric.world(), world, 8 << 20).with_context(|| wrong("a stream"))?;
        }
    }
    Ok(())
}

fn two_pods_with_one_port_talk_to_one_server(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, one) = set(routing, attach)?;
    let two = fabric.node(1).pod()?;
    for family in Family::BOTH {
        let server = server(&fabric, family)?;
        let (mut first, mut first_far, a) = server.pair(one.netns(), Some(44_444), server.address())?;
        let (mut second, mut second_far, b) = server.pair(two.netns(), Some(44_444), server.address())?;
        let node = fabric.member(1).address(family);
        ensure!(a.seen == SocketAddr::new(node, 44_444), "{a:?}");
        ensure!(b.seen.ip() == node && b.seen.port() != 44_444, "{b:?}");
        for (word, near, far) in [(*b"one", &mut first, &mut first_far), (*b"two", &mut second, &mut second_far)] {
            use std::io::{Read, Write};
            near.write_all(&word)?;
            let mut got = [0; 3];
            far.read_exact(&mut got)?;
            ensure!(got == word, "{got:?} where {word:?} was sent");
        }
        let world = fabric.world_address(family);
        let udp = meet::udp_socket(fabric.world(), (world, 0).into())?;
        let any: IpAddr = if family == Family::V4 { [0; 4].into() } else { [0_u16; 8].into() };
        let sockets = [&one, &two].map(|pod| meet::udp_socket(pod.netns(), (any, 44_445).into()));
        let mut seen = Vec::new();
        for socket in sockets {
            seen.push(meet::udp_from(&socket?, &udp, udp.local_addr()?, 100)?.seen);
        }
        ensure!(seen[0] != seen[1] && seen.iter().all(|one| one.ip() == node), "{seen:?}");
    }
    Ok(())
}

fn icmp_errors_reach_the_pod(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set_as(Layout::new(routing, attach).world_mtu(1400))?;
    for family in Family::BOTH {
        let v4 = family == Family::V4;
        let (world, router) = (fabric.world_address(family), fabric.member(1).gateway(family));
        let prober = Prober::open(pod.netns(), v4)?;
        let error = |what: &'static str, size: usize| {
            prober.send((world, 33_434).into(), size)?;
            prober.error().with_context(|| format!("{family:?}: {what}"))
        };
        let closed = error("a closed port", 10)?;
        ensure!((closed.from, closed.kind) == (world, if v4 { 3 } else { 1 }), "{closed:?}");
        // As traceroute does it: the node, the router, the world.
        prober.ttl(1)?;
        let first = error("one hop", 10)?;
        let own = [fabric.node(1).gateway(family), fabric.member(1).address(family)];
        ensure!(own.contains(&first.from) && first.kind == if v4 { 11 } else { 3 }, "{first:?}");
        prober.ttl(2)?;
        let second = error("two hops", 10)?;
        ensure!((second.from, second.kind) == (router, if v4 { 11 } else { 3 }), "{second:?}");
        prober.ttl(3)?;
        let third = error("three hops", 10)?;
        ensure!((third.from, third.kind) == (world, if v4 { 3 } else { 1 }), "{third:?}");
        prober.ttl(64)?;
        prober.discover_mtu()?;
        let narrow = error("too big for the path", 1390)?;
        ensure!((narrow.from, narrow.kind, narrow.info) == (router, if v4 { 3 } else { 2 }, 1400), "{narrow:?}");
        stream::both_ways(pod.netns(), fabric.world(), world, 2 << 20).context("over the narrow path")?;
    }
    Ok(())
}

fn fragments_travel_both_ways(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let world = fabric.world_address(family);
        let udp = meet::udp_socket(fabric.world(), (world, 0).into())?;
        for size in [1500, 4096, 60_000] {
            let met = meet::udp(pod.netns(), &udp, udp.local_addr()?, size)
                .with_context(|| format!("{family:?}: {size} bytes; {:?}", weft_tests::drops::read(fabric.node(1))))?;
            ensure!(met.seen.ip() == fabric.member(1).address(family), "{met:?}");
        }
    }
    Ok(())
}

fn addresses_of_nodes_are_reached(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let inside = pod.address(family)?;
        // The own node's, as the pod; another node's as the node: pod ranges alone are exempt.
        for (number, due) in [(1, inside), (2, fabric.member(1).address(family))] {
            let address = fabric.member(number).address(family);
            let netns = fabric.node(number).netns();
            let wrong = || format!("{family:?}: pod of n1 to n{number}");
            ping::must_reach(pod.netns(), address).with_context(wrong)?;
            let tcp = Tcp::listen(netns, address)?;
            let met = tcp.meet(pod.netns(), tcp.address()).with_context(wrong)?;
            ensure!(met.seen == SocketAddr::new(due, met.client.port()), "{}: {met:?}", wrong());
            stream::both_ways(pod.netns(), netns, address, 2 << 20).with_context(wrong)?;
        }
        // And the other node reaches the pod.
        let listener = Tcp::listen(pod.netns(), inside)?;
        listener.meet(fabric.node(2).netns(), listener.address())?;
    }
    Ok(())
}

fn answers_by_another_uplink_arrive(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set_as(Layout::new(routing, attach).second_uplink())?;
    // The network sends what is for the node by the other link.
    exec::ip_batch(
        fabric.core().netns(),
        &[
            &format!("route add {}/32 via 198.18.0.11", fabric.member(1).address(Family::V4)),
            &format!("route add {}/128 via 2001:db8:18::11", fabric.member(1).address(Family::V6)),
        ],
    )?;
    for family in Family::BOTH {
        let world = fabric.world_address(family);
        let wire = FrameSocket::open(fabric.node(1).netns(), Member::SECOND)?;
        ping::must_reach(pod.netns(), world).with_context(|| format!("{family:?}"))?;
        let tcp = server(&fabric, family)?;
        let met = tcp.meet(pod.netns(), tcp.address())?;
        ensure!(met.seen.ip() == fabric.member(1).address(family), "{met:?}");
        stream::both_ways(pod.netns(), fabric.world(), world, 2 << 20)?;
        let came = wire.wait_for(Duration::from_secs(1), |frame| {
            read::is_between(frame, world, fabric.member(1).address(family))
        })?;
        ensure!(came.is_some(), "no answer came by the second uplink: the test proves nothing");
    }
    Ok(())
}

fn a_port_that_the_node_has_is_not_taken(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let server = server(&fabric, family)?;
        let node = fabric.member(1).address(family);
        // A connection of the node's own, then one of the pod's with the same port to the same server.
        let (near, far, own) = server.pair(fabric.node(1).netns(), Some(45_000), server.address())?;
        ensure!(own.seen == SocketAddr::new(node, 45_000), "{own:?}");
        let (_near, _far, met) = server.pair(pod.netns(), Some(45_000), server.address())?;
        ensure!(met.seen.ip() == node && met.seen.port() != 45_000, "{met:?}");
        must_still_talk(near, far).with_context(|| format!("{family:?}: the node's connection"))?;
        // A socket of the node's that waits for datagrams.
        let world = fabric.world_address(family);
        let udp = meet::udp_socket(fabric.world(), (world, 0).into())?;
        let waiting = meet::udp_socket(fabric.node(1).netns(), (node, 45_001).into())?;
        let any: IpAddr = if family == Family::V4 { [0; 4].into() } else { [0_u16; 8].into() };
        let met = meet::udp_from(&meet::udp_socket(pod.netns(), (any, 45_001).into())?, &udp, udp.local_addr()?, 9)?;
        ensure!(met.seen.port() != 45_001, "{met:?}");
        let own = meet::udp_from(&waiting, &udp, udp.local_addr()?, 9)?;
        ensure!(own.seen == SocketAddr::new(node, 45_001), "{own:?}");
    }
    Ok(())
}

fn a_port_that_a_pod_s_flow_has_is_not_lost_to_the_node(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let server = server(&fabric, family)?;
        let node = fabric.member(1).address(family);
        let (near, far, met) = server.pair(pod.netns(), Some(45_100), server.address())?;
        ensure!(met.seen == SocketAddr::new(node, 45_100), "{met:?}");
        let (own_near, own_far, own) = server
            .pair(fabric.node(1).netns(), Some(45_100), server.address())
            .with_context(|| format!("{family:?}: the node's own connection"))?;
        ensure!(own.seen.ip() == node && own.seen != met.seen, "{own:?}");
        must_still_talk(near, far).with_context(|| format!("{family:?}: the pod's connection"))?;
        must_still_talk(own_near, own_far).with_context(|| format!("{family:?}: the node's connection"))?;
    }
    Ok(())
}

/// Both ends say something and are understood.
fn must_still_talk(near: std::net::TcpStream, far: std::net::TcpStream) -> Result<()> {
    let talk = weft_tests::traffic::talk::Talk::start(near, far);
    std::thread::sleep(Duration::from_millis(30));
    talk.stop().map(drop)
}

fn a_flow_from_the_world_is_answered_as_the_pod(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let inside = pod.address(family)?;
        let way = if family == Family::V4 { "198.51.100.1" } else { "2001:db8:51::1" };
        exec::ip_batch(fabric.world(), &[&format!("route replace {inside} via {way}")])?;
        let node = fabric.member(1).address(family);
        exec::ip_batch(fabric.core().netns(), &[&format!("route add {inside} via {node}")])?;
        ping::must_reach(fabric.world(), inside).with_context(|| format!("{family:?}"))?;
        let listener = Tcp::listen(pod.netns(), inside)?;
        let met = listener.meet(fabric.world(), listener.address())?;
        ensure!(met.seen.ip() == fabric.world_address(family), "{met:?}");
        stream::both_ways(fabric.world(), pod.netns(), inside, 4 << 20)?;
        // What the pod begins is masqueraded all the same.
        let server = server(&fabric, family)?;
        let met = server.meet(pod.netns(), server.address())?;
        ensure!(met.seen.ip() == node, "{met:?}");
    }
    Ok(())
}

fn exempt_ranges_see_the_pod(routing: Routing, attach: Attach) -> Result<()> {
    let layout = Layout::new(routing, attach).flag("--masq-exempt=198.51.100.3/32,2001:db8:51::3/128");
    let (fabric, pod) = set_as(layout)?;
    for family in Family::BOTH {
        let inside = pod.address(family)?;
        let node = fabric.member(1).address(family);
        exec::ip_batch(fabric.core().netns(), &[&format!("route add {inside} via {node}")])?;
        let exempt: IpAddr = if family == Family::V4 { "198.51.100.3" } else { "2001:db8:51::3" }.parse()?;
        for (address, due) in [(exempt, inside), (fabric.world_address(family), node)] {
            let server = Tcp::listen(fabric.world(), address)?;
            let met = server.meet(pod.netns(), server.address()).with_context(|| address.to_string())?;
            ensure!(met.seen.ip() == due, "{met:?} at {address}");
        }
    }
    Ok(())
}

fn without_masquerade_pods_are_routed(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set_as(Layout::new(routing, attach).flag("--masquerade=false"))?;
    for family in Family::BOTH {
        let inside = pod.address(family)?;
        let node = fabric.member(1).address(family);
        exec::ip_batch(fabric.core().netns(), &[&format!("route add {inside} via {node}")])?;
        let server = server(&fabric, family)?;
        let met = server.meet(pod.netns(), server.address())?;
        ensure!(met.seen.ip() == inside && met.seen == met.client, "{met:?}");
    }
    Ok(())
}

fn a_packet_s_way_is_captured(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(routing, attach)?;
    for family in Family::BOTH {
        let (inside, node, world) =
            (pod.address(family)?, fabric.member(1).address(family), fabric.world_address(family));
        let (at_pod, at_node) = (FrameSocket::open(pod.netns(), "eth0")?, fabric.listen(fabric.member(1))?);
        let before = kernel::forwarded(fabric.node(1).netns())?;
        ping::must_reach(pod.netns(), world)?;
        let count =
            |frames: &[Vec<u8>], src, dst| frames.iter().filter(|frame| read::is_between(frame, src, dst)).count();
        let (near, wire) =
            (at_pod.until_silent(Duration::from_millis(50))?, at_node.until_silent(Duration::from_millis(50))?);
        ensure!((count(&near, inside, world), count(&near, world, inside)) == (3, 3), "at the pod: {}", near.len());
        ensure!((count(&wire, node, world), count(&wire, world, node)) == (3, 3), "on the wire: {}", wire.len());
        let leaked = wire.iter().filter(|frame| read::addresses(frame, 8472).contains(&inside)).count();
        ensure!(leaked == 0, "{leaked} packets with the pod's address on the wire");
        let forwarded = kernel::forwarded(fabric.node(1).netns())? - before;
        ensure!(forwarded == 0, "the node's stack forwarded {forwarded} packets");
    }
    Ok(())
}
