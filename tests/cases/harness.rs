//! The harness itself: what it makes is isolated, and nothing of it stays.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use weft_tests::daemon::{Daemon, ended_by};
use weft_tests::fabric::{Core, Fabric, Layout, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::checksum;
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::packet::read;
use weft_tests::site::{self, Site};
use weft_tests::traffic::errors::Prober;
use weft_tests::traffic::{meet, ping, stream};
use weft_tests::{exec, need};

#[test]
fn a_namespace_has_nothing_but_its_own_devices() -> Result<()> {
    let site = Site::of_tests()?;
    let netns = Netns::with_loopback(&site.unique("x"))?;
    exec::ip_batch(&netns, &["link add weft-t-veth type veth peer name weft-t-peer"])?;
    let links = exec::tool_in(&netns, "ip", &["-brief", "link"])?;
    assert_eq!(links.lines().count(), 3, "{links}");
    assert!(!exec::tool("ip", &["-brief", "link"])?.contains("weft-t-veth"));
    Ok(())
}

#[test]
fn a_dropped_node_leaves_neither_name_nor_mount_nor_file() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    let (name, dir) = (node.netns().path().to_owned(), node.dir().to_owned());
    assert!(fs::read_to_string("/proc/self/mounts")?.contains(&*dir.to_string_lossy()));
    drop(node);
    assert!(!name.exists() && !dir.exists());
    assert!(!fs::read_to_string("/proc/self/mounts")?.contains(&*dir.to_string_lossy()));
    Ok(())
}

#[test]
fn demolition_by_name_ends_processes_and_removes_namespaces_of_that_site_alone() -> Result<()> {
    let doomed = Site::open(&format!("weft-t-doomed-{}", std::process::id()))?;
    let netns = Netns::create(&doomed.unique("x"))?;
    let bystander = Netns::create(&format!("{}s", doomed.name()))?;
    let mut sleeper = Command::new(need::tool("sleep")?);
    let mut daemon = Daemon::spawn(&doomed, &netns, sleeper.arg("600"), &doomed.dir().join("log"))?;
    site::demolish(doomed.name());
    assert!(ended_by(daemon.wait(Duration::from_secs(5))?, Signal::SIGKILL));
    assert!(!netns.path().exists() && !doomed.dir().exists() && bystander.path().exists());
    Ok(())
}

#[test]
fn a_fabric_carries_nodes_and_world_and_knows_no_pods() -> Result<()> {
    let layout = Layout::new(Routing::Native, None).far().second_uplink().world_mtu(1400);
    let fabric = Fabric::lay(&Site::of_tests()?, layout)?;
    for family in Family::BOTH {
        let world = fabric.world_address(family);
        ping::must_reach(fabric.node(1).netns(), world)?;
        ping::must_reach(fabric.node(3).netns(), fabric.member(1).address(family))?;
        let seen = FrameSocket::open(fabric.core().netns(), Core::SWITCH)?;
        let server = meet::Tcp::listen(fabric.world(), world)?;
        let met = server.meet(fabric.node(2).netns(), server.address())?;
        assert_eq!((met.seen, met.seen.ip()), (met.client, fabric.member(2).address(family)));
        let syn = seen.wait_for(Duration::from_secs(1), |frame| read::is_between(frame, met.seen.ip(), world))?;
        assert!(syn.is_some(), "the switch saw nothing");
        stream::both_ways(fabric.node(2).netns(), fabric.world(), world, 1 << 20)?;
        let routes = exec::tool_in(fabric.world(), "ip", &["route", "show", "table", "all"])?;
        assert!(!routes.contains("10.244"), "{routes}");
    }
    Ok(())
}

#[test]
fn icmp_errors_are_heard() -> Result<()> {
    let fabric = Fabric::lay(&Site::of_tests()?, Layout::new(Routing::Native, None).nodes(1).world_mtu(1400))?;
    for family in Family::BOTH {
        let v4 = family == Family::V4;
        let (world, gateway) = (fabric.world_address(family), fabric.member(1).gateway(family));
        let prober = Prober::open(fabric.node(1).netns(), v4)?;
        prober.send((world, 9).into(), 10)?;
        let closed = prober.error()?;
        assert_eq!((closed.from, closed.kind), (world, if v4 { 3 } else { 1 }));
        prober.ttl(1)?;
        prober.send((world, 9).into(), 10)?;
        let exceeded = prober.error()?;
        assert_eq!((exceeded.from, exceeded.kind), (gateway, if v4 { 11 } else { 3 }));
        prober.ttl(64)?;
        prober.discover_mtu()?;
        prober.send((world, 9).into(), 1450)?;
        let narrow = prober.error()?;
        assert_eq!((narrow.from, narrow.kind, narrow.info), (gateway, if v4 { 3 } else { 2 }, 1400));
    }
    Ok(())
}

#[test]
fn packets_are_made_with_right_checksums_and_wrong_ones_are_seen() -> Result<()> {
    for (src, dst) in [("10.0.0.1:7", "10.0.0.2:9"), ("[fd00::1]:7", "[fd00::2]:9")] {
        for kind in Kind::BEGINNINGS {
            let packet = Datagram::new(kind, src.parse()?, dst.parse()?);
            if kind == Kind::UdpUnsummed && packet.src.is_ipv6() {
                continue;
            }
            for frame in [packet.frame(), packet.answer().frame(), packet.clone().options().frame()] {
                checksum::verify(&frame)?;
                let parsed = etherparse::PacketHeaders::from_ethernet_slice(&frame)?;
                assert!(parsed.payload.slice().ends_with(b"to be or not"), "{kind:?}");
            }
            let router = packet.dst.ip();
            let (kind, code) = if router.is_ipv4() { (3, 3) } else { (1, 4) };
            checksum::verify(&packet.error(router, kind, code, 0, 1000))?;
        }
        let mut wrong = Datagram::new(Kind::Udp, src.parse()?, dst.parse()?).frame();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert!(checksum::verify(&wrong).is_err());
    }
    Ok(())
}
