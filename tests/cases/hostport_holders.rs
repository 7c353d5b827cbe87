//! A port that somebody has already: ADD names the holder, and leaves nothing behind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::publish::{self, HOST_PORT, Published, Server, mapping};
use weft_tests::storm;
use weft_tests::traffic::meet;

use super::doomed;

#[test]
fn another_pod_s_port_is_refused_and_the_pod_is_named() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let mut sandbox = Sandbox::new(&node)?;
    sandbox.attachment.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=till-0".into();
    let network = publish::asking(&node.network(), &publish::usual(None));
    let holder = Pod::attach_as(&node, &network, sandbox)?;
    let server = Server::listen(holder.netns(), publish::CONTAINER_PORT)?;
    for host_ip in [None, Some("0.0.0.0"), Some("::"), Some("127.0.0.1"), Some("10.244.0.1")] {
        let error = doomed(&node, &json!(publish::usual(host_ip)))?.to_string();
        let container = &holder.attachment().container_id;
        ensure!(error.contains("shop/till-0") && error.contains(container.as_str()), "{host_ip:?}: {error}");
        ensure!(error.contains("30080"), "{host_ip:?}: {error}");
    }
    server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    holder.check(&node)?;
    holder.del(&node)?;
    let Published { pod, server } = Published::attach(&node).context("the port is free again")?;
    server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    pod.del(&node)?;
    publish::must_be_gone(&node)
}

#[test]
fn mappings_that_do_not_meet_stand_beside_each_other() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network();
    let at = |host_ip: &str, protocol: &str| {
        let mut entry = mapping(HOST_PORT, publish::CONTAINER_PORT, protocol);
        entry["hostIP"] = host_ip.into();
        entry
    };
    let beside = [at("127.0.0.1", "tcp"), at("10.244.0.1", "tcp"), at("::1", "tcp"), at("0.0.0.0", "udp")];
    let mut pods = Vec::new();
    for mapping in &beside {
        let pod = Pod::attach(&node, &publish::asking(&network, std::slice::from_ref(mapping)));
        pods.push(pod.with_context(|| mapping.to_string())?);
    }
    doomed(&node, &json!([at("0.0.0.0", "tcp")])).context("every address of IPv4")?;
    doomed(&node, &json!([at("127.0.0.1", "udp")])).context("one of all")?;
    for (pod, address) in pods.iter().zip(["127.0.0.1", "10.244.0.1", "::1"]) {
        let server = Server::listen(pod.netns(), publish::CONTAINER_PORT)?;
        server.tcp.meet(node.netns(), SocketAddr::new(address.parse()?, HOST_PORT)).context(address)?;
    }
    Ok(())
}

/// A socket that has a port of the node.
fn held(node: &Node, protocol: &str, address: IpAddr) -> Result<Box<dyn Send>> {
    let at = SocketAddr::new(address, HOST_PORT);
    Ok(match protocol {
        "tcp" => Box::new(node.netns().enter(|| TcpListener::bind(at))?.context("listen")?),
        _ => Box::new(node.netns().enter(|| UdpSocket::bind(at))?.context("bind")?),
    })
}

#[test]
fn a_listening_process_is_named() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let places: [IpAddr; 5] = [
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv4Addr::new(10, 244, 0, 1).into(),
    ];
    for protocol in ["tcp", "udp"] {
        for place in places {
            let holder = held(&node, protocol, place)?;
            let wanted = [mapping(HOST_PORT, 80, protocol)];
            let error = doomed(&node, &json!(wanted))?.to_string();
            let pid = process::id().to_string();
            ensure!(error.contains("30080") && error.contains(&pid), "{protocol} at {place}: {error}");
            // The other protocol's port is another one.
            let other = mapping(HOST_PORT, 80, if protocol == "tcp" { "udp" } else { "tcp" });
            let pod = Pod::attach(&node, &publish::asking(&node.network(), &[other]))?;
            pod.del(&node)?;
            meet::let_go(node.netns(), HOST_PORT, holder)?;
            let pod = Pod::attach(&node, &publish::asking(&node.network(), &wanted)).context("it has gone")?;
            pod.del(&node)?;
        }
    }
    Ok(())
}

#[test]
fn a_process_at_another_address_and_a_pod_s_own_are_no_holders() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let neighbour = node.pod()?;
    let _inside = Server::listen(neighbour.netns(), HOST_PORT)?;
    let _beside = held(&node, "tcp", Ipv4Addr::new(10, 244, 0, 1).into())?;
    let Published { pod, server } = Published::attach_with(&node, &node.network(), &publish::usual(Some("127.0.0.1")))?;
    server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    pod.del(&node)?;
    // An outgoing connection from a port is no listener.
    let there = Server::listen(neighbour.netns(), 7100)?;
    let target = SocketAddr::new(neighbour.address(Family::V4)?, 7100);
    let _flow = there.tcp.pair(node.netns(), Some(31_555), target)?;
    let pod = Pod::attach(&node, &publish::asking(&node.network(), &[mapping(31_555, 80, "tcp")]))?;
    pod.del(&node)
}

#[test]
fn of_many_that_want_one_port_at_once_one_gets_it() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = publish::asking(&node.network(), &publish::usual(None));
    let sandboxes = storm::sandboxes(&node, 12)?;
    let answers = storm::add(&node, &network, &sandboxes);
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    ensure!(won == 1, "{won} pods got the port: {answers:?}");
    ensure!(publish::listed(&node)?.len() == 2, "{:?}", publish::listed(&node)?);
    let list = node.weft_json(&["endpoint", "list"])?;
    ensure!(list == json!([list[0]]), "records of the others: {list}");
    for sandbox in &sandboxes {
        network.del(node.netns(), &sandbox.attachment, None)?;
    }
    publish::must_be_gone(&node)
}
