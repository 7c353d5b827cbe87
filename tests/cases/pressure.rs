//! More flows than entries, floods, and flows that are over.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_cni::mac::Mac;
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::node::{Attach, Family};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::Link;
use weft_tests::packet::datagram::{Datagram, Kind, SYN};
use weft_tests::pod::Pod;
use weft_tests::traffic::meet::{self, Tcp};
use weft_tests::traffic::talk::Talk;
use weft_tests::traffic::{ping, stream};
use weft_tests::{kernel, on_both_routings, wait};

on_both_routings!(
    ten_times_more_flows_than_entries_leave_the_node_alive,
    a_flood_of_syns_does_not_stop_the_neighbours,
    a_closed_connection_leaves_the_table,
    flows_are_listed_with_what_they_became,
    a_half_open_connection_leaves_soon,
);

fn set(layout: Layout) -> Result<(Fabric, Pod)> {
    let fabric = Fabric::start(layout.nodes(2))?;
    let pod = fabric.node(1).pod()?;
    Ok((fabric, pod))
}

/// `weft flow list` of the first node.
fn flows(fabric: &Fabric, filter: &[&str]) -> Result<Vec<Value>> {
    let list = fabric.member(1).weft(&[&["flow", "list"], filter].concat())?;
    let flows =
        list.as_array().or_else(|| list["flows"].as_array()).with_context(|| format!("no list of flows: {list}"))?;
    Ok(flows.clone())
}

/// Flows towards that address and port.
fn towards(fabric: &Fabric, address: IpAddr, port: u16) -> Result<usize> {
    let (address, port) = (address.to_string(), port.to_string());
    Ok(flows(fabric, &[])?
        .iter()
        .filter(|flow| {
            let text = flow.to_string();
            text.contains(&address) && text.contains(&port)
        })
        .count())
}

fn ten_times_more_flows_than_entries_leave_the_node_alive(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach).flag("--flow-table-size=1024"))?;
    let (neighbour, other) = (fabric.node(1).pod()?, fabric.node(2).pod()?);
    for family in Family::BOTH {
        let world = fabric.world_address(family);
        let any: IpAddr = if family == Family::V4 { [0; 4].into() } else { [0_u16; 8].into() };
        let socket: UdpSocket = meet::udp_socket(pod.netns(), (any, 0).into())?;
        let peer = ping::Steady::start(neighbour.netns(), other.address(family)?, Duration::from_millis(5))?;
        for port in 20_000..30_240_u16 {
            // A refusal that an earlier datagram met is told now.
            let _ = socket.send_to(b"one of very many", (world, port));
        }
        let report = peer.stop()?;
        ensure!(report.lost() == 0, "{} of {} packets that need no flow were lost", report.lost(), report.sent);
        // New flows are let in, by whom ever.
        for client in [&pod, &neighbour] {
            let server = Tcp::listen(fabric.world(), world)?;
            server.meet(client.netns(), server.address()).with_context(|| format!("{family:?}"))?;
            stream::both_ways(client.netns(), fabric.world(), world, 1 << 20)?;
        }
        let listed = flows(&fabric, &[])?.len();
        ensure!(listed <= 1024, "{listed} flows in a table of 1024");
    }
    let text = fabric.node(1).weft(&["status"])?.text();
    ensure!(text.contains("flow"), "no word of the flows in the status:\n{text}");
    Ok(())
}

fn a_flood_of_syns_does_not_stop_the_neighbours(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, flooder) = set(Layout::new(routing, attach).flag("--flow-table-size=4096"))?;
    let neighbour = fabric.node(1).pod()?;
    let host = kernel::ip(fabric.node(1).netns(), &format!("link show {}", flooder.host_ifname()?))?;
    let host: Mac = host[0]["address"].as_str().context("no MAC")?.parse()?;
    let link = Link { src: flooder.mac()?, dst: host };
    let (inside, world) = (flooder.address(Family::V4)?, fabric.world_address(Family::V4));
    let server = Tcp::listen(fabric.world(), world)?;
    // One that lasts through it all.
    let (near, far, _) = server.pair(neighbour.netns(), None, server.address())?;
    let lasting = Talk::start(near, far);
    let stop = AtomicBool::new(false);
    let (sent, made) = thread::scope(|scope| {
        let flood = scope.spawn(|| -> Result<u32> {
            let wire = FrameSocket::open(flooder.netns(), "eth0")?;
            let mut sent = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let [.., high, low] = sent.to_be_bytes();
                let port = 1024 + u16::from_be_bytes([high, low]) % 60_000;
                let unused: IpAddr = [198, 51, 100, 200].into();
                let syn = Datagram::new(Kind::Tcp(SYN), (inside, port).into(), (unused, 80).into()).link(link);
                wire.send(&syn.payload(b"").frame())?;
                sent += 1;
            }
            Ok(sent)
        });
        let until = Instant::now() + Duration::from_secs(2);
        let mut made = 0_u32;
        let outcome = (|| -> Result<()> {
            while Instant::now() < until {
                server.meet(neighbour.netns(), server.address())?;
                made += 1;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let sent = flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome.with_context(|| format!("after {made} connections and {sent} SYNs"))?;
        anyhow::Ok((sent, made))
    })?;
    let report = lasting.stop().context("a connection from before the flood")?;
    ensure!(sent > 10_000, "no flood: {sent} SYNs");
    ensure!(made > 50, "{made} connections in 2 s beside {sent} SYNs");
    ensure!(report.slowest < Duration::from_secs(1), "an answer took {:?}", report.slowest);
    Ok(())
}

fn a_closed_connection_leaves_the_table(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach).flag("--timeout-tcp-closing=2"))?;
    for family in Family::BOTH {
        let server = Tcp::listen(fabric.world(), fabric.world_address(family))?;
        let target = server.address();
        let (near, far, _) = server.pair(pod.netns(), None, target)?;
        ensure!(towards(&fabric, target.ip(), target.port())? == 1, "the flow is not listed");
        drop((near, far));
        wait::until("a closed flow is gone", Duration::from_secs(12), || {
            Ok(towards(&fabric, target.ip(), target.port())? == 0)
        })?;
    }
    Ok(())
}

fn a_half_open_connection_leaves_soon(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach).flag("--timeout-tcp-opening=2"))?;
    let target = std::net::SocketAddr::from(([198, 51, 100, 200], 81));
    let _ = pod.netns().enter(|| std::net::TcpStream::connect_timeout(&target, Duration::from_millis(100)))?;
    ensure!(towards(&fabric, target.ip(), target.port())? == 1, "the flow is not listed");
    wait::until("a half-open flow is gone", Duration::from_secs(12), || {
        Ok(towards(&fabric, target.ip(), target.port())? == 0)
    })
    .map(drop)
}

fn flows_are_listed_with_what_they_became(routing: Routing, attach: Attach) -> Result<()> {
    let (fabric, pod) = set(Layout::new(routing, attach))?;
    for family in Family::BOTH {
        let server = Tcp::listen(fabric.world(), fabric.world_address(family))?;
        let (_near, _far, met) = server.pair(pod.netns(), None, server.address())?;
        let address = pod.address(family)?.to_string();
        let mine = flows(&fabric, &["--pod", &address])?;
        let text = Value::from(mine.clone()).to_string();
        for part in [address, met.seen.ip().to_string(), met.seen.port().to_string(), server.address().ip().to_string()]
        {
            ensure!(text.contains(&part), "no {part} in {text}");
        }
        let table = fabric.node(1).weft(&["nat", "list"])?;
        ensure!(table.status.success() && table.text().contains(&met.seen.port().to_string()), "{}", table.text());
    }
    Ok(())
}
