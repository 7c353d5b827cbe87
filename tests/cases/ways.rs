//! The ways off a node on a real kernel, without an agent: overlay device, routes to other nodes, uplinks, news.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use weft_agent::node::{Expedite, Node as Ways, OverlaySpec, PeerRoute, PeerRoutes, Search, Towards};
use weft_tests::node::{Attach, Node, Settings};
use weft_tests::{exec, kernel};

const GROUP: u32 = 0x5700_1234;
const SPEC: OverlaySpec = OverlaySpec { port: 8472, mtu: 1450 };

/// A node with one uplink, `up0`, and its pod ranges' gateway addresses.
struct Fixture {
    node: Node,
    ways: Ways,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    fn new() -> Result<Self> {
        let node = Node::without_agent(Settings::new(Attach::preferred()))?;
        let lines = [
            "link add up0 type veth peer name far0",
            "link set far0 up",
            "link set up0 up",
            "address add 192.0.2.11/24 dev up0",
            "address add 192.0.2.10/24 dev up0",
            "address add 2001:db8::11/64 dev up0 nodad",
            "route add default via 192.0.2.1",
        ];
        exec::ip_batch(node.netns(), &lines)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let expedite = Expedite::new(false, &node.run_dir());
        let ways = node.netns().enter(|| Ways::open(GROUP, &expedite, Path::new("/proc")))??;
        let fixture = Self { node, ways, runtime };
        let pools = [net("10.244.1.0/24")?, net("fd00:10:1::/64")?];
        fixture.run(async |ways| ways.prepare(&pools).await)?;
        Ok(fixture)
    }

    /// Sysctls are those of the thread's namespace, sockets those of the namespace in which they were opened.
    fn run<T, E: std::error::Error + Send + Sync + 'static>(
        &self,
        work: impl AsyncFnOnce(&Ways) -> std::result::Result<T, E>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(work(&self.ways))?)
    }

    fn ip(&self, line: &str) -> Result<()> {
        exec::ip_batch(self.node.netns(), &[line])
    }

    fn device(&self) -> Result<u32> {
        Ok(self.run(async |ways| ways.ensure_overlay(SPEC).await)?.index)
    }

    fn uplink(&self) -> Result<u32> {
        let links = kernel::ip(self.node.netns(), "link show up0")?;
        Ok(u32::try_from(links[0]["ifindex"].as_u64().context("no index")?)?)
    }

    /// Makes the routes these; what failed.
    fn set(&self, wanted: &PeerRoutes) -> Result<Vec<String>> {
        let there = self.run(async |ways| ways.peer_routes().await)?;
        let (there, failures) = self.run(async |ways| ways.set_peer_routes(there, wanted.clone()).await)?;
        ensure!(there == self.run(async |ways| ways.peer_routes().await)?, "not what the kernel has: {there:?}");
        Ok(failures.iter().map(|failure| failure.error.to_string()).collect())
    }
}

/// Why the overlay device cannot be made.
fn refusal(fixture: &Fixture) -> Result<String> {
    match fixture.device() {
        Ok(index) => bail!("made as {index}"),
        Err(error) => Ok(error.to_string()),
    }
}

fn net(text: &str) -> Result<IpNet> {
    text.parse().with_context(|| text.to_owned())
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

fn tunnel(device: u32, range: &str, node: &str) -> Result<(IpNet, PeerRoute)> {
    let range = net(range)?;
    let source = address(if range.addr().is_ipv4() { "10.244.1.1" } else { "fd00:10:1::1" })?;
    let route = PeerRoute::Tunnel { device, vni: 7, node: address(node)?, local: None, source: Some(source) };
    Ok((range, route))
}

#[test]
fn the_overlay_device_is_made_mended_and_removed() -> Result<()> {
    let fixture = Fixture::new()?;
    let first = fixture.device()?;
    let show = || kernel::ip(fixture.node.netns(), "link show weft-vx");
    let link = show()?.remove(0);
    let data = &link["linkinfo"]["info_data"];
    ensure!(data["external"] == true && data["port"] == 8472 && data["learning"] == false, "{link}");
    let flags: Vec<_> = link["flags"].as_array().into_iter().flatten().filter_map(|flag| flag.as_str()).collect();
    ensure!(flags.contains(&"NOARP") && flags.contains(&"UP") && link["mtu"] == 1450, "{link}");
    ensure!(link["inet6_addr_gen_mode"] == "none", "{link}");
    ensure!(fixture.device()? == first, "an untouched device stays");

    for spoiled in ["link set weft-vx down", "link set weft-vx mtu 1200"] {
        fixture.ip(spoiled)?;
        ensure!(fixture.device()? == first, "{spoiled}");
        let link = show()?.remove(0);
        ensure!(link["mtu"] == 1450 && link["flags"].to_string().contains("\"UP\""), "{spoiled}: {link}");
    }
    fixture.ip("link delete weft-vx")?;
    ensure!(fixture.device()? != first, "a new one");
    // Ours by its group, but not as it has to be.
    fixture.ip("link delete weft-vx")?;
    fixture.ip(&format!("link add weft-vx group {GROUP} type vxlan id 3 dstport 4789"))?;
    fixture.device()?;
    ensure!(show()?[0]["linkinfo"]["info_data"]["external"] == true);

    fixture.run(async |ways| ways.remove_overlay().await)?;
    fixture.run(async |ways| ways.remove_overlay().await)?;
    ensure!(!kernel::devices(fixture.node.netns())?.contains(&"weft-vx".to_owned()));
    Ok(())
}

#[test]
fn a_device_or_port_of_somebody_else_is_named() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.ip("link add other type vxlan external dstport 8472")?;
    fixture.ip("link set other up")?;
    let error = refusal(&fixture)?;
    ensure!(error.contains("8472") && error.contains("--overlay-port"), "{error}");
    fixture.ip("link delete other")?;
    fixture.device()?;
    fixture.run(async |ways| ways.remove_overlay().await)?;
    fixture.ip("link add weft-vx type veth peer name weft-vy")?;
    let error = refusal(&fixture)?;
    ensure!(error.contains("weft-vx") && error.contains("ip link delete"), "{error}");
    fixture.run(async |ways| ways.cleanup().await)?;
    ensure!(kernel::devices(fixture.node.netns())?.contains(&"weft-vx".to_owned()), "somebody else's stays");
    Ok(())
}

#[test]
fn routes_change_by_differences() -> Result<()> {
    let fixture = Fixture::new()?;
    let (device, uplink) = (fixture.device()?, fixture.uplink()?);
    let gateway = |node: &str| Ok::<_, anyhow::Error>(PeerRoute::Gateway { device: uplink, node: address(node)? });
    let mut wanted = PeerRoutes::from([
        tunnel(device, "10.244.2.0/24", "192.0.2.12")?,
        tunnel(device, "fd00:10:2::/64", "192.0.2.12")?,
        tunnel(device, "10.244.3.0/24", "2001:db8::13")?,
        tunnel(device, "fd00:10:3::/64", "2001:db8::13")?,
        (net("10.244.4.0/24")?, gateway("192.0.2.14")?),
        (net("fd00:10:4::/64")?, gateway("2001:db8::14")?),
        tunnel(device, "10.244.5.7/32", "192.0.2.15")?,
    ]);
    ensure!(fixture.set(&wanted)?.is_empty());
    ensure!(fixture.run(async |ways| ways.peer_routes().await)? == wanted);
    let named = PeerRoute::Tunnel {
        device,
        vni: 7,
        node: address("192.0.2.12")?,
        local: Some(address("192.0.2.10")?),
        source: Some(address("10.244.1.1")?),
    };
    // Replaced in place, from each kind to each; the rest is not touched.
    for (range, route) in [
        ("10.244.2.0/24", named),
        ("10.244.3.0/24", gateway("192.0.2.13")?),
        ("fd00:10:3::/64", gateway("2001:db8::13")?),
        ("10.244.4.0/24", tunnel(device, "10.244.4.0/24", "2001:db8::14")?.1),
        ("fd00:10:4::/64", tunnel(device, "fd00:10:4::/64", "192.0.2.14")?.1),
    ] {
        wanted.insert(net(range)?, route);
        ensure!(fixture.set(&wanted)?.is_empty(), "{range}");
        ensure!(fixture.run(async |ways| ways.peer_routes().await)? == wanted, "{range}");
    }
    wanted.remove(&net("fd00:10:4::/64")?);
    wanted.remove(&net("10.244.4.0/24")?);
    ensure!(fixture.set(&wanted)?.is_empty());
    ensure!(fixture.run(async |ways| ways.peer_routes().await)? == wanted);
    Ok(())
}

#[test]
fn somebody_else_s_route_stays_and_is_named() -> Result<()> {
    let fixture = Fixture::new()?;
    let device = fixture.device()?;
    fixture.ip("route add 10.244.9.0/24 via 192.0.2.77")?;
    let wanted = PeerRoutes::from([
        tunnel(device, "10.244.9.0/24", "192.0.2.19")?,
        tunnel(device, "10.244.8.0/24", "192.0.2.18")?,
    ]);
    let failures = fixture.set(&wanted)?;
    ensure!(failures.len() == 1 && failures[0].contains("10.244.9.0/24"), "{failures:?}");
    let routes = exec::tool_in(fixture.node.netns(), "ip", &["route"])?;
    ensure!(routes.contains("10.244.9.0/24 via 192.0.2.77") && routes.contains("10.244.8.0/24"), "{routes}");
    fixture.run(async |ways| ways.cleanup().await)?;
    let routes = exec::tool_in(fixture.node.netns(), "ip", &["route"])?;
    ensure!(routes.contains("10.244.9.0/24 via 192.0.2.77") && !routes.contains("proto 87"), "{routes}");
    Ok(())
}

#[test]
fn uplinks_and_ways_are_what_the_kernel_says() -> Result<()> {
    let fixture = Fixture::new()?;
    let uplink = fixture.uplink()?;
    let find = |towards: &HashSet<u32>| {
        let tables = fixture.run(async |ways| ways.tables().await)?;
        Ok::<_, anyhow::Error>(fixture.ways.uplinks(&tables, &Search::default(), towards, &HashSet::new()))
    };
    let found = find(&HashSet::new())?;
    ensure!(found.all.len() == 1 && found.warnings.is_empty(), "{found:?}");
    ensure!(found.all[0].v4 == Some([192, 0, 2, 11].into()), "the primary one: {found:?}");
    ensure!(found.all[0].v6 == Some("2001:db8::11".parse()?), "{found:?}");
    fixture.ip("route replace default via 192.0.2.1 src 192.0.2.10")?;
    ensure!(find(&HashSet::new())?.all[0].v4 == Some([192, 0, 2, 10].into()));

    let addresses = ["192.0.2.12", "2001:db8::12", "198.51.100.1", "192.0.2.11", "2001:db9::1"];
    let addresses = addresses.into_iter().map(address).collect::<Result<Vec<_>>>()?;
    let ways = fixture.run(async |ways| ways.look_up(addresses).await)?;
    let way = |direct| Towards { device: uplink, direct };
    let expected = HashMap::from([
        (address("192.0.2.12")?, way(true)),
        (address("2001:db8::12")?, way(true)),
        (address("198.51.100.1")?, way(false)),
    ]);
    ensure!(ways == expected, "the node's own and one without a route are left out: {ways:?}");
    Ok(())
}

#[test]
fn news_come_of_what_matters_alone() -> Result<()> {
    let fixture = Fixture::new()?;
    let device = fixture.device()?;
    let mut news = fixture.node.netns().enter(|| fixture.ways.news())??;
    let mut heard = || {
        std::thread::sleep(Duration::from_millis(100));
        let heard = news.has_changed().unwrap_or(false);
        news.mark_unchanged();
        heard
    };
    for line in [
        "address add 192.0.2.99/24 dev up0",
        "address delete 192.0.2.99/24 dev up0",
        "route add 203.0.113.0/24 via 192.0.2.1",
        "link set up0 mtu 1400",
        "link set weft-vx down",
        "link add second type veth peer name third",
    ] {
        fixture.ip(line)?;
        ensure!(heard(), "{line}");
    }
    let _ = fixture.device()?;
    ensure!(heard());
    // The kernel tells of carriers up to a second late.
    std::thread::sleep(Duration::from_millis(1500));
    let _ = heard();
    fixture.set(&PeerRoutes::from([tunnel(device, "10.244.2.0/24", "192.0.2.12")?]))?;
    ensure!(!heard(), "our own routes are no news");
    fixture.run(async |ways| ways.settle().await)?;
    ensure!(!heard(), "a node that is as it should be is left alone");
    let pod = Node::without_agent(Settings::new(Attach::preferred()))?;
    let home = pod.netns().name();
    fixture.ip(&format!("link add weft0123456789a group {GROUP} type veth peer name eth0 netns {home}"))?;
    fixture.ip("link set weft0123456789a addrgenmode none")?;
    fixture.ip("link set weft0123456789a up")?;
    fixture.ip("link delete weft0123456789a")?;
    ensure!(!heard(), "nor are pods");
    Ok(())
}

#[test]
fn thousands_of_routes_are_made_in_no_time() -> Result<()> {
    let fixture = Fixture::new()?;
    let device = fixture.device()?;
    let wanted = (0..10_000_u32)
        .map(|at| {
            let range = IpNet::new(IpAddr::from((0x0b00_0000 + (at << 8)).to_be_bytes()), 24)?;
            Ok((range, tunnel(device, "10.244.2.0/24", "192.0.2.12")?.1))
        })
        .collect::<Result<PeerRoutes>>()?;
    let begun = std::time::Instant::now();
    ensure!(fixture.set(&wanted)?.is_empty());
    // Unoptimised, and with everybody else's tests beside it.
    ensure!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    ensure!(fixture.set(&PeerRoutes::new())?.is_empty());
    ensure!(fixture.run(async |ways| ways.peer_routes().await)?.is_empty());
    Ok(())
}
