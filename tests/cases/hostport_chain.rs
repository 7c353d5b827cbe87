//! Ports of pods that another plugin made: behind Debian's `bridge` and `ptp`, with and without their masquerading.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::publish::{self, CONTAINER_PORT, HOST_PORT, Published, Server};
use weft_tests::runtime::Network;
use weft_tests::{kernel, need, on_both_attachments};

on_both_attachments!(behind_bridge, behind_bridge_that_masquerades, behind_ptp, behind_ptp_that_masquerades);

/// The network that weft is chained behind.
fn chained(node: &Node, first: &Value) -> Network {
    let ours = json!({
        "type": "weft-cni", "agentSocket": node.socket(), "capabilities": { "portMappings": true, "bandwidth": true },
    });
    let mut first = first.clone();
    first["ipam"] = json!({
        "type": "host-local",
        "dataDir": node.dir().join("host-local"),
        "ranges": [[{ "subnet": "10.245.0.0/24" }], [{ "subnet": "fd00:10:245::/64" }]],
    });
    if first["isDefaultGateway"] != true {
        first["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    }
    Network::of(vec![first, ours]).named("chain").version("1.0.0")
}

/// A pod whose plugin need not wait for duplicate address detection.
fn attach(node: &Node, network: &Network) -> Result<Pod> {
    let without_dad = |netns: &Netns| kernel::set_sysctl(netns, "net/ipv6/conf/default/accept_dad", "0");
    without_dad(node.netns())?;
    let sandbox = Sandbox::new(node)?;
    without_dad(&sandbox.netns)?;
    Pod::attach_as(node, network, sandbox)
}

fn serves(kind: &str, masquerade: bool, how: Attach) -> Result<()> {
    need::reference_plugin(kind)?;
    let fabric = Fabric::start(Layout::new(Routing::Native, how).nodes(2))?;
    let node = fabric.node(1);
    let mut first = json!({ "type": kind, "ipMasq": masquerade });
    if kind == "bridge" {
        first["bridge"] = "cni0".into();
        first["isDefaultGateway"] = true.into();
    }
    let network = chained(node, &first);
    let pod = attach(node, &publish::asking(&network, &publish::usual(None)))?;
    let server = Server::listen(pod.netns(), CONTAINER_PORT)?;
    let published = Published { pod, server };
    let neighbour = attach(node, &network)?;
    let Published { pod, server } = &published;
    for family in Family::BOTH {
        let uplink = SocketAddr::new(fabric.member(1).address(family), HOST_PORT);
        let who = |what: &str| format!("{what}, {family:?}");
        let seen = server.must_answer(fabric.world(), uplink).with_context(|| who("the world"))?;
        ensure!(seen == fabric.world_address(family), "the world was seen as {seen}");
        server.must_carry(fabric.world(), uplink, 4 << 20).with_context(|| who("the world"))?;
        server.must_answer(node.netns(), uplink).with_context(|| who("the node"))?;
        let loopback = SocketAddr::new(publish::loopback(family), HOST_PORT);
        server.must_answer(node.netns(), loopback).with_context(|| who("the node by loopback"))?;
        let seen = server.must_answer(neighbour.netns(), uplink).with_context(|| who("a neighbour"))?;
        ensure!(seen == neighbour.address(family)?, "a neighbour was seen as {seen}");
        server.must_carry(neighbour.netns(), uplink, 4 << 20).with_context(|| who("a neighbour"))?;
        let seen = server.must_answer(fabric.node(2).netns(), uplink).with_context(|| who("another node"))?;
        ensure!(seen == fabric.member(2).address(family), "another node was seen as {seen}");
        server.must_answer(pod.netns(), uplink).with_context(|| who("itself"))?;
        // The pod's own flows are what its plugin makes of them.
        if masquerade {
            let world = Server::listen(fabric.world(), 7100)?;
            let met = world.tcp.meet(neighbour.netns(), (fabric.world_address(family), 7100).into());
            ensure!(met.with_context(|| who("out into the world"))?.seen.ip() == uplink.ip(), "not masqueraded");
        }
    }
    pod.check(node)?;
    let target = SocketAddr::new(fabric.member(1).address(Family::V4), HOST_PORT);
    let (near, _far, _) = server.tcp.pair(fabric.world(), None, target)?;
    pod.del(node)?;
    publish::must_be_cut(&near).context("after DEL")?;
    publish::must_be_gone(node)?;
    publish::must_be_refused(fabric.world(), target)
}

fn behind_bridge(how: Attach) -> Result<()> {
    serves("bridge", false, how)
}

fn behind_bridge_that_masquerades(how: Attach) -> Result<()> {
    serves("bridge", true, how)
}

fn behind_ptp(how: Attach) -> Result<()> {
    serves("ptp", false, how)
}

fn behind_ptp_that_masquerades(how: Attach) -> Result<()> {
    serves("ptp", true, how)
}
