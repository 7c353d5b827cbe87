//! Pods reach each other, themselves, the node and the world, with every protocol and size.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::node::{Attach, Family, Node, Settings, Uplink};
use weft_tests::packet::FrameSocket;
use weft_tests::pod::Pod;
use weft_tests::traffic::{datagram, ping, stream};
use weft_tests::{exec, kernel, on_both_attachments, on_every_path};

on_every_path!(
    pods_ping_each_other,
    tcp_streams_arrive_whole,
    udp_datagrams_and_fragments_arrive,
    sctp_passes,
    jumbo_packets_pass,
    node_and_pod_reach_each_other,
    a_pod_reaches_its_own_address,
    the_node_s_stack_and_netfilter_are_bypassed,
    an_unknown_pod_address_is_unreachable_and_stays_on_the_node,
    pods_and_the_world_reach_each_other_by_routing,
);
on_both_attachments!(the_first_packet_of_a_pod_waits_for_nothing, pods_take_the_uplink_s_mtu);

fn pair(attach: Attach) -> Result<(Node, Pod, Pod)> {
    pair_with(Settings::new(attach))
}

fn pair_with(settings: Settings) -> Result<(Node, Pod, Pod)> {
    let node = Node::start_with(settings)?;
    let (a, b) = (node.pod()?, node.pod()?);
    Ok((node, a, b))
}

fn pods_ping_each_other(attach: Attach, family: Family) -> Result<()> {
    let (_node, a, b) = pair(attach)?;
    ping::must_reach(a.netns(), b.address(family)?)?;
    ping::must_reach(b.netns(), a.address(family)?)?;
    Ok(())
}

fn tcp_streams_arrive_whole(attach: Attach, family: Family) -> Result<()> {
    let (_node, a, b) = pair(attach)?;
    // Long enough that segments of 64 KiB are the rule.
    stream::both_ways(a.netns(), b.netns(), b.address(family)?, 32 << 20)?;
    Ok(())
}

fn udp_datagrams_and_fragments_arrive(attach: Attach, family: Family) -> Result<()> {
    let (_node, a, b) = pair(attach)?;
    for size in [0, 1, 1200, 60_000] {
        datagram::udp_echo(a.netns(), b.netns(), b.address(family)?, size).with_context(|| format!("{size} bytes"))?;
    }
    Ok(())
}

fn sctp_passes(attach: Attach, family: Family) -> Result<()> {
    let (_node, a, b) = pair(attach)?;
    // An INIT chunk behind the common header, RFC 9260: nobody answers it, it only has to arrive.
    let init =
        [[0x9c, 0x40, 0x0b, 0x59, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 1, 0, 0, 20].as_slice(), &[0; 16]].concat();
    datagram::raw(a.netns(), b.netns(), b.address(family)?, datagram::SCTP, &init)?;
    datagram::raw(b.netns(), a.netns(), a.address(family)?, datagram::SCTP, &init)
}

fn jumbo_packets_pass(attach: Attach, family: Family) -> Result<()> {
    let (_node, a, b) = pair_with(Settings::new(attach).flag("--mtu=9000"))?;
    let caught = FrameSocket::open(b.netns(), "eth0")?;
    datagram::udp_echo(a.netns(), b.netns(), b.address(family)?, 8900)?;
    let whole = caught.wait_for(Duration::from_secs(1), |frame| frame.len() > 8900)?;
    ensure!(whole.is_some(), "8900 bytes did not travel in one packet");
    stream::both_ways(a.netns(), b.netns(), b.address(family)?, 16 << 20)?;
    Ok(())
}

fn node_and_pod_reach_each_other(attach: Attach, family: Family) -> Result<()> {
    let (node, pod, _other) = pair(attach)?;
    let (inside, outside) = (pod.address(family)?, node.gateway(family));
    ping::must_reach(node.netns(), inside)?;
    ping::must_reach(pod.netns(), outside)?;
    stream::both_ways(node.netns(), pod.netns(), inside, 4 << 20).context("node to pod")?;
    stream::both_ways(pod.netns(), node.netns(), outside, 4 << 20).context("pod to node")?;
    datagram::udp_echo(node.netns(), pod.netns(), inside, 1200).context("node to pod")?;
    datagram::udp_echo(pod.netns(), node.netns(), outside, 1200).context("pod to node")
}

fn a_pod_reaches_its_own_address(attach: Attach, family: Family) -> Result<()> {
    let (_node, pod, _other) = pair(attach)?;
    let own = pod.address(family)?;
    ping::must_reach(pod.netns(), own)?;
    stream::both_ways(pod.netns(), pod.netns(), own, 1 << 20)?;
    let loopback: IpAddr = if family == Family::V4 { [127, 0, 0, 1].into() } else { "::1".parse()? };
    ping::must_reach(pod.netns(), loopback).map(drop)
}

fn the_node_s_stack_and_netfilter_are_bypassed(attach: Attach, family: Family) -> Result<()> {
    let (node, a, b) = pair(attach)?;
    let iptables = if family == Family::V4 { "iptables" } else { "ip6tables" };
    for rule in ["-t raw -A PREROUTING -j DROP", "-P FORWARD DROP", "-P INPUT DROP"] {
        exec::tool_in(node.netns(), iptables, &rule.split(' ').collect::<Vec<_>>())?;
    }
    let before = kernel::forwarded(node.netns())?;
    ping::must_reach(a.netns(), b.address(family)?)?;
    stream::both_ways(a.netns(), b.netns(), b.address(family)?, 1 << 20)?;
    assert_eq!(kernel::forwarded(node.netns())?, before, "the node's stack forwarded packets");
    // The rules are in force: what goes through the stack is lost.
    let to_node = ping::ping(a.netns(), node.gateway(family), 1)?;
    assert_eq!(to_node.lost(), 1, "netfilter of the node did not see a packet to the node");
    Ok(())
}

fn an_unknown_pod_address_is_unreachable_and_stays_on_the_node(attach: Attach, family: Family) -> Result<()> {
    let node = Node::without_agent(Settings::new(attach))?;
    let uplink = Uplink::join(&node, 1500)?;
    node.start_agent()?;
    let pod = node.pod()?;
    let unknown: IpAddr = match family {
        Family::V4 => "10.244.0.200".parse()?,
        Family::V6 => "fd00:10:244::200".parse()?,
    };
    let leaked = FrameSocket::open(uplink.world(), Uplink::FAR_DEVICE)?;
    let report = ping::ping(pod.netns(), unknown, 2)?;
    assert!(report.replies.is_empty() && !report.errors.is_empty(), "no ICMP error came: {report:?}");
    let octets = match unknown {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let seen = leaked
        .wait_for(Duration::from_millis(200), |frame| frame.windows(octets.len()).any(|window| window == octets))?;
    assert_eq!(seen, None, "the uplink saw a packet to an unknown pod");
    Ok(())
}

fn pods_and_the_world_reach_each_other_by_routing(attach: Attach, family: Family) -> Result<()> {
    let node = Node::without_agent(Settings::new(attach))?;
    let uplink = Uplink::join(&node, 1500)?;
    node.start_agent()?;
    let pod = node.pod()?;
    let world: IpAddr = if family == Family::V4 { Uplink::WORLD_V4 } else { Uplink::WORLD_V6 }.parse()?;
    ping::must_reach(pod.netns(), world)?;
    ping::must_reach(uplink.world(), pod.address(family)?)?;
    stream::both_ways(pod.netns(), uplink.world(), world, 4 << 20)?;
    stream::both_ways(uplink.world(), pod.netns(), pod.address(family)?, 4 << 20)?;
    Ok(())
}

fn the_first_packet_of_a_pod_waits_for_nothing(attach: Attach) -> Result<()> {
    let (_node, a, b) = pair(attach)?;
    for family in Family::BOTH {
        let first = ping::ping(a.netns(), b.address(family)?, 1)?;
        let took = first.fastest().context("the first packet was lost")?;
        assert!(took < Duration::from_millis(20), "{family:?}: {took:?}: something was resolved first");
    }
    let neighbours = kernel::ip(a.netns(), "neighbour show")?;
    assert_eq!(neighbours.len(), 2, "{neighbours:?}");
    assert!(neighbours.iter().all(|one| one["state"][0] == "PERMANENT"), "{neighbours:?}");
    Ok(())
}

fn pods_take_the_uplink_s_mtu(attach: Attach) -> Result<()> {
    let node = Node::without_agent(Settings::new(attach))?;
    let _uplink = Uplink::join(&node, 1400)?;
    node.start_agent()?;
    let pod = node.pod()?;
    assert_eq!(kernel::ip(pod.netns(), "link show eth0")?[0]["mtu"], 1350, "50 are the overlay's");
    assert_eq!(kernel::ip(node.netns(), &format!("link show {}", pod.host_ifname()?))?[0]["mtu"], 1350);
    let own = node.network().with("mtu", 1300.into());
    let other = Pod::attach(&node, &own)?;
    assert_eq!(kernel::ip(other.netns(), "link show eth0")?[0]["mtu"], 1300, "the configuration's mtu wins");
    Ok(())
}
