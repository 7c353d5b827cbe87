//! The tables of flows, filled by us through the agent's pins, and the program at the uplink on the same maps.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use nix::time::{ClockId, clock_gettime};
use weft_abi::{FlowFlags, Hook, global, map, tick};

use super::statistics::number;
use crate::need;
use crate::packet::datagram::{ACK, Datagram, Kind};
use crate::program::underlay::LINK;

const TCP: u8 = 6;
const SERVER_PORT: u16 = 443;
/// The pod's ports towards one server, and the first of them.
const PORTS: u32 = 50_000;
const FIRST_PORT: u16 = 10_000;

/// Established and translated TCP flows of one pod towards several servers, each to keep its port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flows {
    pod: IpAddr,
    node: IpAddr,
    count: u32,
}

impl Flows {
    pub(super) fn new(pod: IpAddr, node: IpAddr, count: u32) -> Self {
        Self { pod, node, count }
    }

    /// Writes all of them, as used at that time.
    pub(super) fn write(&self, pins: &Path, seen: u32) -> Result<()> {
        let mut nat = open::<32>(pins, map::NAT)?;
        for number in 0..self.count {
            let (port, server) = ends(number);
            nat.insert(key(self.node, server, port), self.back(seen, port), 0).context("write a way back")?;
        }
        self.see(pins, seen)
    }

    /// Has the pod's last packet in each of them at that time.
    pub(super) fn see(&self, pins: &Path, seen: u32) -> Result<()> {
        let mut flows = open::<40>(pins, map::FLOWS)?;
        for number in 0..self.count {
            let (port, server) = ends(number);
            flows.insert(key(self.pod, server, port), self.flow(seen, port), 0).context("write a flow")?;
        }
        Ok(())
    }

    /// The next packet that the pod sends in a flow.
    pub(super) fn frame(&self, number: u32) -> Vec<u8> {
        let (port, server) = ends(number);
        Datagram::new(Kind::Tcp(ACK), (self.pod, port).into(), (server, SERVER_PORT).into()).link(LINK).frame()
    }

    /// A value of `flows`.
    fn flow(&self, now: u32, port: u16) -> [u8; 40] {
        let mut bytes = [0; 40];
        for (at, word) in [now, now, FlowFlags::TRANSLATED | FlowFlags::CONFIRMED, 0].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_ne_bytes());
        }
        bytes[16..32].copy_from_slice(&weft_abi::Addr::from(self.node).octets());
        bytes[32..34].copy_from_slice(&port.to_be_bytes());
        bytes
    }

    /// A value of `nat`.
    fn back(&self, now: u32, port: u16) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&now.to_ne_bytes());
        bytes[8..24].copy_from_slice(&weft_abi::Addr::from(self.pod).octets());
        bytes[24..26].copy_from_slice(&port.to_be_bytes());
        bytes
    }
}

/// The time as the programs keep it.
pub(super) fn now() -> Result<u32> {
    let clock = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(tick(u64::try_from(clock.as_nanos())?))
}

/// The pod's port of a flow, and the server.
fn ends(number: u32) -> (u16, IpAddr) {
    let port = u16::try_from(number % PORTS).unwrap_or_default() + FIRST_PORT;
    (port, Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + number / PORTS).into())
}

/// A key of either table, port kept.
fn key(inside: IpAddr, outside: IpAddr, port: u16) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&weft_abi::Addr::from(inside).octets());
    bytes[16..32].copy_from_slice(&weft_abi::Addr::from(outside).octets());
    bytes[32..34].copy_from_slice(&port.to_be_bytes());
    bytes[34..36].copy_from_slice(&SERVER_PORT.to_be_bytes());
    bytes[36] = TCP;
    bytes
}

fn open<const N: usize>(pins: &Path, name: &str) -> Result<HashMap<MapData, [u8; 40], [u8; N]>> {
    let data = MapData::from_pin(pins.join(name)).with_context(|| format!("open the map {name}"))?;
    Ok(HashMap::try_from(Map::from_map_data(data)?)?)
}

/// Bytes that the kernel has set aside for a pinned map.
pub(super) fn memory(pin: &Path) -> Result<f64> {
    let data = MapData::from_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd()));
    let info = info.context("ask about a map")?;
    let bytes = info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    Ok(number(bytes.context("the kernel does not tell a map's memory")?))
}

/// `to_netdev` on an agent's maps.
pub(super) struct ToNetdev(Ebpf);

impl fmt::Debug for ToNetdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToNetdev")
    }
}

impl ToNetdev {
    /// Every map that is pinned there is the program's too.
    pub(super) fn load(pins: &Path) -> Result<Self> {
        let (port, routing) = (0_u32, 1_u32);
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        loader.override_global(global::OVERLAY_PORT, &port, true);
        loader.override_global(global::HOST_ROUTING, &routing, true);
        let names = [map::PODS, map::PEERS, map::UPLINKS, map::FLOWS, map::NAT, map::NAT_FULL, map::MASQ_EXEMPT];
        for name in names.into_iter().chain([map::FRAGS, map::NODE, map::COUNTERS, map::EVENTS]) {
            loader.map_pin_path(name, pins.join(name));
        }
        let mut ebpf = loader.load_file(need::workspace().join("target/ebpf/weft.o")).context("load the maps")?;
        program(&mut ebpf)?.load().context("load to_netdev")?;
        Ok(Self(ebpf))
    }

    /// Nanoseconds of one run.
    pub(super) fn time(&mut self, frame: &[u8]) -> Result<u128> {
        let options = TestRunOptions { data_in: Some(frame), repeat: 1, ..TestRunOptions::new() };
        Ok(program(&mut self.0)?.test_run(options)?.duration.as_nanos())
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let name = Hook::ToNetdev.name();
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
