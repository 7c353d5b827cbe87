//! The agent's work on the tables of flows, which the test fills itself: lists, sweeps, traces.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{HashMap, Map, MapData};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use weft_abi::{Addr, Flow, FlowFlags, Nat, PodFlags, Tuple, map, tick};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::need;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::traffic::meet::Tcp;
use weft_tests::traffic::talk::Talk;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn open<V: aya::Pod>(node: &Node, name: &str) -> Result<HashMap<MapData, [u8; 40], V>> {
    let map = Map::from_map_data(MapData::from_pin(node.pins().join(name))?)?;
    Ok(HashMap::try_from(map)?)
}

fn key(tuple: &Tuple) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&tuple.inside.octets());
    bytes[16..32].copy_from_slice(&tuple.outside.octets());
    bytes[32..34].copy_from_slice(&tuple.inside_port.to_ne_bytes());
    bytes[34..36].copy_from_slice(&tuple.outside_port.to_ne_bytes());
    bytes[36] = tuple.protocol;
    bytes
}

fn flow_bytes(flow: &Flow) -> [u8; 40] {
    let mut bytes = [0; 40];
    for (at, word) in [flow.seen, flow.created, flow.flags, flow.ifindex].into_iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes[16..32].copy_from_slice(&flow.nat_addr.octets());
    bytes[32..34].copy_from_slice(&flow.nat_port.to_ne_bytes());
    bytes
}

fn nat_bytes(nat: &Nat) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&nat.seen.to_ne_bytes());
    bytes[4..8].copy_from_slice(&nat.flags.to_ne_bytes());
    bytes[8..24].copy_from_slice(&nat.inside.octets());
    bytes[24..26].copy_from_slice(&nat.inside_port.to_ne_bytes());
    bytes[28..32].copy_from_slice(&nat.endpoint_id.to_ne_bytes());
    bytes
}

fn now() -> Result<u32> {
    let clock = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(tick(u64::try_from(clock.as_nanos())?))
}

/// A node's tables, and what is put into them.
struct Tables {
    flows: HashMap<MapData, [u8; 40], [u8; 40]>,
    nat: HashMap<MapData, [u8; 40], [u8; 32]>,
}

const NODE: [u8; 4] = [192, 0, 2, 1];

/// The flow with the server that all talk with.
fn tuple(protocol: u8, inside: IpAddr, port: u16) -> Tuple {
    let server = IpAddr::from([198, 51, 100, 7]);
    Tuple::between(protocol, (inside.into(), port.to_be()), (server.into(), 443_u16.to_be()))
}

impl Tables {
    fn open(node: &Node) -> Result<Self> {
        Ok(Self { flows: open(node, map::FLOWS)?, nat: open(node, map::NAT)? })
    }

    /// A translated flow of the pod: `idle` seconds since its last packet, answered or not.
    fn put(&mut self, pod: IpAddr, protocol: u8, port: u16, idle: u32, answered: bool, flags: u32) -> Result<()> {
        let seen = now()?.saturating_sub(idle);
        let tuple = tuple(protocol, pod, port);
        let nat_addr = Addr::from(IpAddr::from(NODE));
        let confirmed = if answered { FlowFlags::CONFIRMED } else { 0 };
        let flags = flags | confirmed | FlowFlags::TRANSLATED;
        let flow = Flow { seen, created: seen, flags, nat_addr, nat_port: port.to_be(), ..Flow::default() };
        let nat = Nat {
            seen: if answered { seen } else { 0 },
            inside: pod.into(),
            inside_port: port.to_be(),
            ..Nat::default()
        };
        self.nat.insert(key(&Tuple { inside: nat_addr, ..tuple }), nat_bytes(&nat), 0)?;
        self.flows.insert(key(&tuple), flow_bytes(&flow), 0)?;
        Ok(())
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds()? {
        if Instant::now() > deadline {
            bail!("not within 15 s: {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn ports(node: &Node, args: &[&str]) -> Result<Vec<u64>> {
    let flows = node.weft_json(&[&["flow", "list"], args].concat())?;
    let flows = flows["flows"].as_array().context("no flows")?;
    let mut ports: Vec<u64> = flows.iter().filter_map(|flow| flow["inside"]["port"].as_u64()).collect();
    ports.sort_unstable();
    Ok(ports)
}

#[test]
fn flows_are_listed_by_pod_state_age_and_protocol() -> Result<()> {
    let node = Node::start(Attach::Clsact)?;
    let (pod, other) = (node.pod()?, node.pod()?);
    let (addr, other) = (pod.address(Family::V4)?, other.address(Family::V6)?);
    let mut tables = Tables::open(&node)?;
    tables.put(addr, TCP, 1, 1, true, 0)?;
    tables.put(addr, TCP, 2, 100, true, 0)?;
    tables.put(addr, TCP, 3, 1, false, 0)?;
    tables.put(addr, UDP, 4, 1, true, 0)?;
    tables.put(other, TCP, 5, 1, true, FlowFlags::FIN_INSIDE)?;
    for (args, expected) in [
        (&[][..], &[1, 2, 3, 4, 5][..]),
        (&["--pod", &addr.to_string()], &[1, 2, 3, 4]),
        (&["--pod", &other.to_string()], &[5]),
        (&["--pod", &pod.key().container_id], &[1, 2, 3, 4]),
        (&["--state", "established"], &[1, 2]),
        (&["--state", "half-closed"], &[5]),
        (&["--older-than", "1m"], &[2]),
        (&["--younger-than", "1m"], &[1, 3, 4, 5]),
        (&["--proto", "udp"], &[4]),
        (&["--limit", "2", "--proto", "tcp", "--state", "opening"], &[3]),
    ] {
        assert_eq!(ports(&node, args)?, expected, "{args:?}");
    }
    let one = node.weft_json(&["flow", "list", "--proto", "udp"])?;
    assert_eq!((&one["total"], &one["matching"]), (&json!(5), &json!(1)));
    let flow = &one["flows"][0];
    assert_eq!(flow["translated"], json!({"address": "192.0.2.1", "port": 4}));
    assert_eq!(flow["endpoint"]["containerId"], pod.key().container_id);
    let text = node.weft(&["flow", "list", "--limit", "1"])?.text();
    assert!(text.contains("198.51.100.7:443") && text.contains("and 4 more"), "{text}");
    assert!(!node.weft(&["flow", "list", "--state", "dead"])?.status.success());

    let nat = node.weft_json(&["nat", "list"])?;
    assert_eq!(nat["mappings"].as_array().map(Vec::len), Some(5));
    let text = node.weft(&["nat", "list"])?.text();
    assert!(text.contains("192.0.2.1:3") && text.contains("never") && text.contains("131072"), "{text}");
    for name in [map::FLOWS, map::NAT] {
        assert_eq!(node.weft_json(&["map", "dump", name])?.as_array().map(Vec::len), Some(5));
    }
    Ok(())
}

#[test]
fn a_sweep_takes_what_is_over_and_nothing_else() -> Result<()> {
    let node = Node::start(Attach::Clsact)?;
    let pod = node.pod()?;
    let addr = pod.address(Family::V4)?;
    let mut tables = Tables::open(&node)?;
    tables.put(addr, TCP, 1, 3600, true, 0)?;
    tables.put(addr, TCP, 2, 60, false, 0)?;
    tables.put(addr, TCP, 3, 60, true, FlowFlags::RESET)?;
    tables.put(addr, TCP, 4, 60, true, FlowFlags::FIN_INSIDE | FlowFlags::VIA_STACK)?;
    tables.put(addr, UDP, 5, 120, true, 0)?;
    tables.put(addr, UDP, 6, 60, false, 0)?;
    tables.put("10.99.0.1".parse()?, TCP, 7, 1, true, 0)?;
    // Halves: a flow without its translation, and the other way round.
    tables.put(addr, TCP, 8, 1, true, 0)?;
    tables.put(addr, TCP, 9, 1, true, 0)?;
    tables.nat.remove(&key(&tuple(TCP, NODE.into(), 8)))?;
    tables.flows.remove(&key(&tuple(TCP, addr, 9)))?;
    until("the tables hold what lives", || Ok(tables.flows.keys().count() == 3 && tables.nat.keys().count() == 3))?;
    assert_eq!(ports(&node, &[])?, [1, 4, 5]);

    let via_stack = |node: &Node| -> Result<bool> {
        let pods = node.weft_json(&["map", "dump", map::PODS])?;
        let entry = pods.as_array().and_then(|pods| pods.iter().find(|pod| pod["address"] == addr.to_string()));
        Ok(entry.is_some_and(|pod| pod["flags"].as_array().is_some_and(|flags| flags.contains(&json!("via-stack")))))
    };
    until("the pod is noted", || via_stack(&node))?;
    // The agent neither takes the note for a difference nor loses it at a restart.
    pod.check(&node)?;
    node.stop_agent(Signal::SIGKILL)?;
    node.start_agent()?;
    assert!(via_stack(&node)?);
    tables.put(addr, TCP, 4, 600, true, FlowFlags::FIN_INSIDE | FlowFlags::VIA_STACK)?;
    until("the note is gone", || Ok(!via_stack(&node)?))?;
    assert_eq!(PodFlags::VIA_STACK, 2);
    let status = node.weft_json(&["status"])?;
    assert_eq!(status["tables"][0], json!({"name": "flows", "entries": 2, "room": 131_072}));
    Ok(())
}

/// `weft trace`, its output in a pipe.
fn tracing(node: &Node, args: &[&str]) -> Result<Child> {
    let mut weft = Command::new(need::binary("weft")?);
    weft.arg(format!("--run-dir={}", node.run_dir().display())).arg("trace").args(args);
    Ok(weft.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
}

#[test]
fn a_trace_tells_each_hook_and_what_it_decided() -> Result<()> {
    let fabric = Fabric::start(Layout::new(Routing::Native, Attach::preferred()).nodes(1))?;
    let node = fabric.node(1);
    let pod = node.pod()?;
    for family in Family::BOTH {
        let (inside, world) = (pod.address(family)?, fabric.world_address(family));
        let server = Tcp::listen(fabric.world(), world)?;
        let target = server.address();
        let mut client = tracing(node, &["--addr", &world.to_string(), "--port", &target.port().to_string()])?;
        let filter = || Ok(!node.weft_json(&["map", "dump", map::NODE])?[0]["trace"].is_null());
        until("the filter is set", filter)?;
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(client.stdout.take().context("no output")?);
        let reader = thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        server.meet(pod.netns(), target)?;
        let mut seen = Vec::new();
        let told = |seen: &[String], hook: &str, parts: &[&str]| {
            seen.iter().any(|line| line.contains(hook) && parts.iter().all(|part| line.contains(part)))
        };
        let (inside, target) = (inside.to_string(), target.to_string());
        let whole = |seen: &[String]| {
            told(seen, "from_pod", &[&inside, &target, "routed: Sent out of an uplink"])
                && told(seen, "to_netdev", &[&target, "translated: The source became"])
                && told(seen, "from_netdev", &[&inside, &target, "translated"])
        };
        while !whole(&seen) {
            let line = lines.recv_timeout(Duration::from_secs(5));
            seen.push(line.with_context(|| format!("not all hooks told:\n{}", seen.join("\n")))?);
        }
        client.kill()?;
        client.wait()?;
        drop(lines);
        let _ = reader.join();
        until("the filter is gone", || Ok(!filter()?))?;
    }
    Ok(())
}

#[test]
fn connections_live_on_in_a_table_of_another_size() -> Result<()> {
    let fabric = Fabric::start(Layout::new(Routing::Native, Attach::preferred()).nodes(1))?;
    let node = fabric.node(1);
    let pod = node.pod()?;
    let mut talks = Vec::new();
    for family in Family::BOTH {
        let server = Tcp::listen(fabric.world(), fabric.world_address(family))?;
        let (near, far, _) = server.pair(pod.netns(), None, server.address())?;
        talks.push(Talk::start(near, far));
    }
    for size in [2048, 1024, 262_144] {
        node.stop_agent(Signal::SIGKILL)?;
        let size_flag = format!("--flow-table-size={size}");
        node.start_agent_as(node.agent_command()?.args(node.dir_flags()).arg(size_flag))?;
        let room = || Ok(node.weft_json(&["status"])?["tables"][0]["room"] == size);
        until("the table has its size", room)?;
        until("the old tables are gone", || Ok(!node.pins().join("nat_old").exists()))?;
    }
    assert_eq!(node.weft_json(&["flow", "list", "--state", "established"])?["matching"], 2);
    for talk in talks {
        let report = talk.stop()?;
        // A flow that was forgotten would be refused by the other end or wait for a second loss.
        ensure!(report.slowest < Duration::from_millis(600), "an answer took {:?}", report.slowest);
    }
    Ok(())
}

#[test]
fn one_client_traces_and_its_filter_goes_with_it() -> Result<()> {
    let node = Node::start(Attach::Clsact)?;
    let filter = || -> Result<Value> { Ok(node.weft_json(&["map", "dump", map::NODE])?[0]["trace"].clone()) };
    assert_eq!(filter()?, Value::Null);
    let mut client = tracing(&node, &["--addr", "10.244.0.9", "--port", "53", "--proto", "udp"])?;
    until("the filter is set", || Ok(!filter()?.is_null()))?;
    assert_eq!(filter()?, json!({"addresses": ["10.244.0.9"], "port": 53, "protocol": 17}));
    let refused = node.weft(&["trace"])?;
    assert!(!refused.status.success() && refused.complaint().contains("another client"), "{}", refused.complaint());
    client.kill()?;
    client.wait()?;
    until("the filter is gone", || Ok(filter()?.is_null()))?;

    let mut client = tracing(&node, &[])?;
    until("the filter is set again", || Ok(!filter()?.is_null()))?;
    node.stop_agent(Signal::SIGKILL)?;
    client.wait()?;
    node.start_agent()?;
    assert_eq!(filter()?, Value::Null);
    Ok(())
}
