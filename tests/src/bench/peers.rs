//! How fast the datapath learns of other nodes, and what many of them take.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData, MapError};
use nix::sys::signal::Signal;
use weft_abi::{Addr, map};

use super::agent::{peak, resident};
use super::statistics::{median, millis, percentile};
use super::{Bench, Figures, Target, progress};
use crate::exec;
use crate::fabric::{Fabric, Layout, Member, Peer, Routing, replace, text};
use crate::node::Attach;

/// Nodes of a large cluster; each has a pod range of both families.
const MANY: u16 = 5000;
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Long enough for an agent to have nothing left to do.
const REST: Duration = Duration::from_millis(500);

type Ranges = LpmTrie<MapData, [u8; 16], [u8; 32]>;

/// One peer after another, then many at once, on a node that uses the overlay.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = u16::try_from(bench.rounds(60, 15))?;
    progress(&format!("{rounds} peers, one after another, then {MANY} at once"));
    let layout = Layout::new(Routing::Overlay, Attach::preferred()).nodes(1);
    let fabric = Fabric::lay(&bench.site, layout)?;
    fabric.start_agents()?;
    let member = fabric.member(1);
    let ranges = open(member)?;
    // An agent that has just become ready is still making itself at home.
    thread::sleep(REST);
    let mut times = Vec::new();
    for count in 1..=rounds {
        let took = tell(member, &ranges, count - 1..count)?;
        times.push(millis(took));
        // What follows behind is no part of the next one, nor is the pace of this loop the file's.
        thread::sleep(Duration::from_millis(50 + u64::from(count % 7) * 10));
    }
    figures.aim("a peer more, p50", median(&times), "ms", Target::AtMost(100.0));
    figures.aim("a peer more, p95", percentile(&times, 95), "ms", Target::AtMost(100.0));
    figures.note("a peer more, the slowest", percentile(&times, 100), "ms");
    many(bench, member, &ranges, figures)
}

/// Many at once into an agent that knows none.
fn many(bench: &Bench, member: &Member, ranges: &Ranges, figures: &mut Figures) -> Result<()> {
    let node = member.node();
    let (mut times, mut routes, mut grown, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds(5, 1) {
        node.stop_agent(Signal::SIGTERM)?;
        replace(&member.peers_file(), &text(&[]))?;
        node.start_agent()?;
        thread::sleep(REST);
        let before = resident(node.agent_pid()?)?;
        let started = Instant::now();
        times.push(millis(tell(member, ranges, 0..MANY)?));
        while count_routes(member)? < usize::from(MANY) * 2 {
            ensure!(started.elapsed() < LIMIT, "not every peer has its routes");
            thread::sleep(Duration::from_millis(20));
        }
        routes.push(millis(started.elapsed()));
        thread::sleep(REST);
        grown.push(resident(node.agent_pid()?)? - before);
        peaks.push(peak(node.agent_pid()?)? - before);
    }
    figures.aim(format!("{MANY} peers, every range in the map"), median(&times), "ms", Target::AtMost(1000.0));
    figures.note(format!("{MANY} peers, every route of the node's own"), median(&routes), "ms");
    figures.aim(format!("{MANY} peers, growth of the agent's RSS"), median(&grown), "MiB", Target::AtMost(20.0));
    figures.note(format!("{MANY} peers, growth at its peak"), median(&peaks), "MiB");
    let node_start = node.stop_agent(Signal::SIGTERM).and_then(|_| node.start_agent())?;
    figures.note(format!("ready after a restart with {MANY} peers"), millis(node_start), "ms");
    Ok(())
}

fn open(member: &Member) -> Result<Ranges> {
    let data = MapData::from_pin(member.node().pins().join(map::PEERS)).context("open the map of peers")?;
    Ok(LpmTrie::try_from(Map::from_map_data(data)?)?)
}

/// Puts the first peers into the file; how long it takes until the programs see the new ones.
fn tell(member: &Member, ranges: &Ranges, new: std::ops::Range<u16>) -> Result<Duration> {
    let peers: Vec<Peer> = (0..new.end).map(peer).collect();
    let text = text(&peers);
    let started = Instant::now();
    replace(&member.peers_file(), &text)?;
    for number in new {
        let v4 = Addr::from(std::net::IpAddr::V4(range_v4(number)));
        while !has(ranges, 96 + 24, v4)? || !has(ranges, 64, Addr::from_octets(range_v6(number)))? {
            ensure!(started.elapsed() < LIMIT, "a peer does not reach the programs");
            thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(started.elapsed())
}

/// Whether there is an entry for this range itself.
fn has(ranges: &Ranges, bits: u32, addr: Addr) -> Result<bool> {
    match ranges.get(&Key::new(bits, addr.octets()), 0) {
        // Every address of a peer's range has the peer's node; the own range's has none.
        Ok(peer) => Ok(peer[..16] != [0; 16]),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(error) => Err(error).context("look a range up"),
    }
}

fn peer(number: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer {
        name: format!("peer-{number}"),
        addresses: vec![[10, 100, high, low].into(), [0x2001, 0xdb8, 0x100, 0, 0, 0, 0, number].into()],
        pod_cidrs: vec![
            format!("{}/24", range_v4(number)),
            format!("{}/64", std::net::Ipv6Addr::from(range_v6(number))),
        ],
    }
}

fn range_v4(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 128 + high, low, 0)
}

fn range_v6(number: u16) -> [u8; 16] {
    std::net::Ipv6Addr::new(0xfd00, 0x20, number, 0, 0, 0, 0, 0).octets()
}

/// Routes of both families over the overlay device.
fn count_routes(member: &Member) -> Result<usize> {
    let mut count = 0;
    for (family, beginning) in [("-4", "10."), ("-6", "fd00:20:")] {
        let routes = exec::tool_in(member.node().netns(), "ip", &[family, "route", "show"])?;
        count += routes.lines().filter(|line| line.starts_with(beginning) && line.contains("encap")).count();
    }
    Ok(count)
}
