//! Published ports while the agent dies and comes back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use weft_abi::map;
use weft_tests::fabric::{Fabric, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::publish::{self, HOST_PORT, Published, Server};
use weft_tests::traffic::talk::Talk;
use weft_tests::{exec, on_both_attachments, wait};

use super::set;

on_both_attachments!(nobody_notices_that_the_agent_restarts, without_an_agent_ports_are_served);

/// Who asks by what.
fn clients(fabric: &Fabric) -> [(&Netns, SocketAddr); 5] {
    let [v4, v6] = Family::BOTH.map(|family| fabric.member(1).address(family));
    let node = fabric.node(1).netns();
    let [loop4, loop6] = Family::BOTH.map(publish::loopback);
    [(fabric.world(), v4), (fabric.world(), v6), (node, loop4), (node, loop6), (node, v4)]
        .map(|(netns, address)| (netns, SocketAddr::new(address, HOST_PORT)))
}

/// Makes connections and sends datagrams, one after another, until told to stop; how many.
fn knock(server: &Server, clients: &[(&Netns, SocketAddr)], stop: &AtomicBool) -> Result<u32> {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        for (client, target) in clients {
            server.must_answer(client, *target).with_context(|| format!("round {rounds}"))?;
        }
        rounds += 1;
    }
    Ok(rounds)
}

fn nobody_notices_that_the_agent_restarts(attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(Routing::Native, attach)?;
    let node = fabric.node(1);
    let clients = clients(&fabric);
    let mut talks = Vec::new();
    for (client, target) in &clients {
        let (near, far, _) = server.tcp.pair(client, None, *target)?;
        talks.push(Talk::start(near, far));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let knocking = scope.spawn(|| knock(&server, &clients, &stop));
        let restarts = (|| -> Result<()> {
            for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM] {
                node.stop_agent(signal)?;
                thread::sleep(Duration::from_millis(30));
                node.start_agent()?;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let rounds = knocking.join().map_err(|_| anyhow!("a client panicked"))?.context("a new connection")?;
        ensure!(rounds > 3, "only {rounds} rounds");
        restarts
    })?;
    for (talk, (client, target)) in talks.into_iter().zip(&clients) {
        talk.stop().with_context(|| format!("an old connection of {} to {target}", client.name()))?;
    }
    pod.check(node)?;
    ensure!(publish::listed(node)?.len() == 2 && publish::entries(node)? == 4, "{:?}", publish::listed(node)?);
    pod.del(node)?;
    publish::must_be_gone(node)
}

fn without_an_agent_ports_are_served(attach: Attach) -> Result<()> {
    let (fabric, Published { pod, server }) = set(Routing::Native, attach)?;
    fabric.node(1).stop_agent(Signal::SIGKILL)?;
    for (client, target) in clients(&fabric) {
        server.must_answer(client, target)?;
    }
    server.must_answer(pod.netns(), (fabric.member(1).address(Family::V4), HOST_PORT).into())?;
    Ok(())
}

/// Writes an entry that no record knows.
fn stray(node: &Node, port: u16) -> Result<()> {
    let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    let key = [weft_abi::Addr::from(any).octets().as_slice(), &port.to_be_bytes(), &[6, 0]].concat();
    let pod: IpAddr = Ipv4Addr::new(10, 244, 1, 99).into();
    let value =
        [weft_abi::Addr::from(pod).octets().as_slice(), &8080_u16.to_be_bytes(), &[0, 0], &[77, 0, 0, 0]].concat();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    let pinned = node.pins().join(map::PORTS).display().to_string();
    let words = ["map", "update", "pinned", &pinned, "key", "hex"].map(str::to_owned).into_iter();
    let words: Vec<String> =
        words.chain(hex(&key)).chain(["value", "hex"].map(str::to_owned)).chain(hex(&value)).collect();
    exec::tool("bpftool", &words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

#[test]
fn a_new_agent_keeps_exactly_the_live_mappings() -> Result<()> {
    let (fabric, live) = set(Routing::Native, Attach::preferred())?;
    let node = fabric.node(1);
    let dead = Published::attach_with(node, &node.network(), &[publish::mapping(31_000, 80, "tcp")])?;
    node.stop_agent(Signal::SIGKILL)?;
    stray(node, 31_001)?;
    publish::forget(node, Ipv4Addr::UNSPECIFIED.into(), HOST_PORT, 6)?;
    exec::ip_batch(node.netns(), &[&format!("link del {}", dead.pod.host_ifname()?)])?;
    node.start_agent()?;
    wait::until("only the live pod's mappings stand", Duration::from_secs(3), || Ok(publish::entries(node)? == 4))?;
    ensure!(publish::listed(node)?.len() == 2, "{:?}", publish::listed(node)?);
    live.pod.check(node)?;
    live.server.must_answer(fabric.world(), (fabric.member(1).address(Family::V4), HOST_PORT).into())?;
    live.server.must_answer(node.netns(), (publish::loopback(Family::V4), HOST_PORT).into())?;
    Ok(())
}

#[test]
fn cleanup_leaves_the_node_s_sockets_alone() -> Result<()> {
    let (fabric, published) = set(Routing::Native, Attach::preferred())?;
    let node = fabric.node(1);
    let target = SocketAddr::new(publish::loopback(Family::V4), HOST_PORT);
    published.server.must_answer(node.netns(), target)?;
    published.pod.del(node)?;
    node.stop_agent(Signal::SIGTERM)?;
    let output = node.run_agent(&["cleanup"])?;
    ensure!(output.status.success(), "cleanup: {}", output.complaint());
    ensure!(!node.bpf_dir().exists(), "pins were left");
    let own = Server::listen(node.netns(), HOST_PORT)?;
    own.must_answer(node.netns(), target)?;
    Ok(())
}
