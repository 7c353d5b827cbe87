//! The pinned maps, opened: what the agent reads and writes.

use aya::Ebpf;
use aya::maps::{MapData, MapError, PerCpuArray, RingBuf};
use aya::sys::SyscallError;
use nix::errno::Errno;
use weft_abi::{
    Addr, Counter, Direction, Flow, Fragment, HostPort, Nat, NodeState, Peer, Pod, Ports, Prefix, Rate, Reason,
    SockPeer, Target, Tuple, Uplink, counter_index, map,
};

use super::DatapathError;
use super::pins::Pins;
use super::plain::{Failed, Plain, Table};

type Counters = PerCpuArray<MapData, Plain<Counter>>;

/// The maps that the agent reads and writes.
pub(super) struct Maps {
    pub(super) pods: Table<Addr, Pod>,
    pub(super) peers: Table<Prefix, Peer>,
    pub(super) uplinks: Table<u32, Uplink>,
    pub(super) flows: Table<Tuple, Flow>,
    pub(super) nat: Table<Tuple, Nat>,
    pub(super) nat_full: Table<Target, u64>,
    pub(super) masq_exempt: Table<Prefix, u32>,
    pub(super) frags: Table<Fragment, Ports>,
    pub(super) ports: Table<Target, HostPort>,
    pub(super) node_addrs: Table<Addr, u32>,
    pub(super) socks: Table<SockPeer, Target>,
    pub(super) node: Table<u32, NodeState>,
    pub(super) rates: Table<u32, Rate>,
    counters: Counters,
}

impl Maps {
    /// Opens the maps of a loaded object by their pins.
    pub(super) fn open(ebpf: &mut Ebpf, pins: &Pins) -> Result<Self, DatapathError> {
        let counters = ebpf.take_map(map::COUNTERS).ok_or(DatapathError::Incomplete { name: map::COUNTERS })?;
        Ok(Self {
            pods: open(pins, map::PODS)?,
            peers: open(pins, map::PEERS)?,
            uplinks: open(pins, map::UPLINKS)?,
            flows: open(pins, map::FLOWS)?,
            nat: open(pins, map::NAT)?,
            nat_full: open(pins, map::NAT_FULL)?,
            masq_exempt: open(pins, map::MASQ_EXEMPT)?,
            frags: open(pins, map::FRAGS)?,
            ports: open(pins, map::PORTS)?,
            node_addrs: open(pins, map::NODE_ADDRS)?,
            socks: open(pins, map::SOCKS)?,
            node: open(pins, map::NODE)?,
            rates: open(pins, map::RATES)?,
            counters: Counters::try_from(counters).map_err(of_aya("open", map::COUNTERS))?,
        })
    }

    /// The one entry of `node`.
    pub(super) fn node(&self) -> Result<NodeState, DatapathError> {
        Ok(self.node.get(&0).map_err(of("look-up", map::NODE))?.unwrap_or_default())
    }

    /// Every counter, summed over the CPUs.
    pub(super) fn counts(&self) -> Result<Vec<(Reason, Direction, Counter)>, DatapathError> {
        let mut counts = Vec::new();
        for reason in Reason::ALL.iter().copied() {
            for direction in Direction::ALL {
                let index = counter_index(reason, direction);
                let cpus = self.counters.get(&index, 0).map_err(of_aya("look-up", map::COUNTERS))?;
                let sum = cpus.iter().fold(Counter::default(), |sum, Plain(cpu)| Counter {
                    packets: sum.packets + cpu.packets,
                    bytes: sum.bytes + cpu.bytes,
                });
                counts.push((reason, direction, sum));
            }
        }
        Ok(counts)
    }
}

/// A ring buffer, opened anew: its reader owns it.
pub(super) fn open_ring(pins: &Pins, name: &'static str) -> Result<RingBuf<MapData>, DatapathError> {
    let open = || RingBuf::try_from(aya::maps::Map::from_map_data(MapData::from_pin(pins.map(name))?)?);
    open().map_err(of_aya("open", name))
}

/// Opens a pinned table.
pub(super) fn open<K: weft_abi::Plain, V: weft_abi::Plain>(
    pins: &Pins,
    name: &'static str,
) -> Result<Table<K, V>, DatapathError> {
    Table::open(&pins.map(name)).map_err(of_aya("open", name))
}

/// An entry that could not be written: no room, most often.
pub(super) fn full_or(map: &'static str, entries: u32) -> impl Fn(Failed) -> DatapathError {
    move |failed| match failed {
        // A hash says the first, a trie the second.
        full if full.is(Errno::E2BIG) || full.is(Errno::ENOSPC) => DatapathError::Full { map, entries },
        other => of("update", map)(other),
    }
}

/// A call on a table that failed.
pub(super) fn of(call: &'static str, map: &'static str) -> impl Fn(Failed) -> DatapathError {
    move |Failed { call: command, source }| {
        let source = MapError::SyscallError(SyscallError { call: command, io_error: source });
        DatapathError::Map { call, map, source }
    }
}

fn of_aya(call: &'static str, map: &'static str) -> impl FnOnce(MapError) -> DatapathError {
    move |source| DatapathError::Map { call, map, source }
}
