//! The end of a mapping: flows to the pod that is gone end, and who comes next has the port whole.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use weft_tests::fabric::{Fabric, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::publish::{self, CONTAINER_PORT, HOST_PORT, Published, Server};
use weft_tests::runtime::refused;
use weft_tests::traffic::meet;
use weft_tests::{exec, on_both_attachments};

use super::set;

on_both_attachments!(
    del_cuts_established_connections,
    datagrams_of_one_client_go_to_the_pod_that_took_over,
    datagrams_go_to_the_pod_that_took_over_with_the_same_address,
    check_finds_a_mapping_that_is_gone,
);

/// Clients of every kind, and what each of them asks: the world, the node by an address and by the loopback one,
/// another pod, another node.
fn clients<'a>(fabric: &'a Fabric, other: &'a Pod, family: Family) -> Vec<(&'static str, &'a Netns, SocketAddr)> {
    let (uplink, loopback) = (fabric.member(1).address(family), publish::loopback(family));
    let asked = [
        ("the world", fabric.world(), uplink),
        ("the node", fabric.node(1).netns(), uplink),
        ("the node by loopback", fabric.node(1).netns(), loopback),
        ("a pod", other.netns(), uplink),
        ("another node", fabric.node(2).netns(), uplink),
    ];
    asked.map(|(who, netns, address)| (who, netns, SocketAddr::new(address, HOST_PORT))).to_vec()
}

fn del_cuts_established_connections(attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(Routing::Native, attach)?;
    let (node, other) = (fabric.node(1), fabric.node(1).pod()?);
    let mut open: Vec<(String, TcpStream, TcpStream)> = Vec::new();
    for family in Family::BOTH {
        for (who, netns, target) in clients(&fabric, &other, family) {
            let (near, far, _) = server.tcp.pair(netns, None, target).context(who)?;
            open.push((format!("{who}, {family:?}"), near, far));
        }
    }
    pod.del(node)?;
    for (who, near, _far) in &open {
        let took = publish::must_be_cut(near).with_context(|| who.clone())?;
        ensure!(took.as_millis() < 1000, "{who}: cut after {took:?}");
    }
    for family in Family::BOTH {
        for (who, netns, target) in clients(&fabric, &other, family) {
            publish::must_be_refused(netns, target).with_context(|| format!("{who}, after DEL"))?;
        }
    }
    publish::must_be_gone(node)
}

/// Has clients of all kinds talk by UDP, each from one port, before and after one pod takes the port over from another.
fn take_over(fabric: &Fabric, first: &Published, next: impl FnOnce() -> Result<Published>) -> Result<()> {
    let (node, other) = (fabric.node(1), fabric.node(1).pod()?);
    let mut flows = Vec::new();
    for family in Family::BOTH {
        for (who, netns, target) in clients(fabric, &other, family) {
            let any: IpAddr =
                if family == Family::V4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = meet::udp_socket(netns, (any, 0).into())?;
            let (seen, from) = first.server.exchange(&socket, target).context(who)?;
            ensure!(from == target, "{who}: the answer came from {from}");
            flows.push((format!("{who}, {family:?}"), socket, target, seen));
        }
    }
    // What the server's end would still send is not the new pod's.
    let connected = fabric.world();
    let (tcp, _far, _) = first.server.tcp.pair(connected, None, flows[0].2)?;
    first.pod.del(node)?;
    let second = next()?;
    for (who, socket, target, before) in &flows {
        let (seen, from) = second.server.exchange(socket, *target).with_context(|| format!("{who}, after"))?;
        ensure!(from == *target && seen.ip() == before.ip(), "{who}: {seen} asked, {from} answered");
        // And again, by what has been recorded by now.
        second.server.exchange(socket, *target).with_context(|| format!("{who}, once more"))?;
    }
    first.server.must_hear_nothing().context("the old pod")?;
    publish::must_be_cut(&tcp).context("a TCP connection to the old pod")?;
    second.pod.del(node)
}

fn datagrams_of_one_client_go_to_the_pod_that_took_over(attach: Attach) -> Result<()> {
    let (fabric, first) = set(Routing::Native, attach)?;
    let old = first.pod.address(Family::V4)?;
    take_over(&fabric, &first, || {
        let second = Published::attach(fabric.node(1))?;
        ensure!(second.pod.address(Family::V4)? != old, "{old} was handed out at once");
        Ok(second)
    })
}

fn datagrams_go_to_the_pod_that_took_over_with_the_same_address(attach: Attach) -> Result<()> {
    let (fabric, first) = set(Routing::Native, attach)?;
    let node = fabric.node(1);
    let same = [first.pod.address(Family::V4)?, first.pod.address(Family::V6)?];
    take_over(&fabric, &first, || {
        let wishes = json!({ "ips": same, "portMappings": publish::usual(None) });
        let pod = Pod::attach(node, &node.network().offering(wishes))?;
        ensure!([pod.address(Family::V4)?, pod.address(Family::V6)?] == same, "other addresses: {}", pod.result());
        let server = Server::listen(pod.netns(), CONTAINER_PORT)?;
        Ok(Published { pod, server })
    })
}

fn check_finds_a_mapping_that_is_gone(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    for (any, protocol) in [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 6),
        (Ipv4Addr::UNSPECIFIED.into(), 17),
    ] {
        let pod = Published::attach(&node)?.pod;
        pod.check(&node).context("a whole pod")?;
        publish::forget(&node, any, HOST_PORT, protocol)?;
        let error = refused(pod.check(&node)).with_context(|| format!("{any}, protocol {protocol}"))?;
        ensure!(error.to_string().contains("30080"), "the port is not named: {error}");
        pod.del(&node)?;
        publish::must_be_gone(&node)?;
    }
    Ok(())
}

#[test]
fn gc_takes_the_mappings_of_what_is_not_listed() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network();
    let stays = Published::attach(&node)?;
    let goes = Published::attach_with(&node, &network, &[publish::mapping(31_000, CONTAINER_PORT, "tcp")])?;
    let target = |port| SocketAddr::new(publish::loopback(Family::V4), port);
    goes.server.tcp.meet(node.netns(), target(31_000))?;
    network.gc(node.netns(), &[stays.pod.attachment()])?;
    publish::must_be_refused(node.netns(), target(31_000))?;
    stays.server.must_answer(node.netns(), target(HOST_PORT))?;
    stays.pod.check(&node)?;
    ensure!(publish::listed(&node)? == [(30_080, "tcp".to_owned()), (30_080, "udp".to_owned())]);
    network.gc(node.netns(), &[])?;
    publish::must_be_gone(&node)
}

#[test]
fn whatever_del_is_told_the_port_is_free_again() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = publish::asking(&node.network(), &publish::usual(None));
    let attach = || Pod::attach_as(&node, &network, Sandbox::new(&node)?);

    let bare = attach()?;
    node.network().del(node.netns(), bare.attachment(), None).context("without result and mappings")?;
    publish::must_be_gone(&node)?;

    let gone = attach()?;
    gone.netns().remove_name();
    node.network().del(node.netns(), &gone.attachment().without_netns(), None).context("without a namespace")?;
    publish::must_be_gone(&node)?;

    let inner = attach()?;
    exec::ip_batch(inner.netns(), &["link del eth0"])?;
    inner.del(&node).context("the interface is gone")?;
    publish::must_be_gone(&node)?;

    // DEL while no agent runs is done when one comes.
    let late = attach()?;
    node.stop_agent(Signal::SIGKILL)?;
    late.del(&node).context("without an agent")?;
    node.start_agent()?;
    publish::must_be_gone(&node)?;

    let server = Published::attach(&node)?;
    server.server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    Ok(())
}

#[test]
fn a_result_tells_nothing_new_and_the_record_tells_the_mappings() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let Published { pod, .. } = Published::attach(&node)?;
    let list = node.weft_json(&["endpoint", "list"])?;
    let ports = &list[0]["endpoint"]["ports"];
    ensure!(ports[0]["hostPort"] == 30_080 && ports[1]["protocol"] == "udp", "{list}");
    let records: Vec<_> = fs::read_dir(node.run_dir().join("attachments"))?.flatten().collect();
    ensure!(records.len() == 1, "{records:?}");
    let text = node.weft(&["port", "list"])?.text();
    for word in ["30080", "8080", "tcp", "udp", &pod.address(Family::V4)?.to_string()] {
        ensure!(text.contains(word), "no {word} in\n{text}");
    }
    pod.check(&node)
}
