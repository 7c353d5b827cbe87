//! What each map must be, compared with what is pinned: aya takes whatever it finds.

use std::path::Path;

use aya::maps::{MapError, MapInfo, MapType};
use nix::errno::Errno;
use weft_abi::{
    Addr, COUNTERS_MAX, Counter, EVENTS_BYTES, FLOWS_MAX, FRAGS_MAX, Flow, Fragment, HostPort, MASQ_EXEMPT_MAX,
    NAT_FULL_MAX, NODE_ADDRS_MAX, Nat, NodeState, PARKED_BYTES, PEERS_MAX, PODS_MAX, PORTS_MAX, Peer, Pod, Ports,
    Prefix, RATES_MAX, Rate, SOCKS_MAX, SockPeer, Target, Tuple, UPLINKS_MAX, Uplink, map,
};

use super::DatapathError;
use super::error::is;
use super::pins::Pins;

/// What a map must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// As bpftool writes it.
    pub(super) kind: &'static str,
    map_type: MapType,
    key_size: usize,
    value_size: usize,
    /// Room, unless the map is [sized](Spec::is_sized) by the configuration.
    max_entries: u32,
}

/// Every map of ours.
pub(super) const SPECS: [Spec; 16] = [
    Spec::new::<Addr, Pod>(map::PODS, "hash", MapType::Hash, PODS_MAX),
    Spec::new::<Prefix, Peer>(map::PEERS, "lpm_trie", MapType::LpmTrie, PEERS_MAX),
    Spec::new::<u32, Uplink>(map::UPLINKS, "hash", MapType::Hash, UPLINKS_MAX),
    Spec::new::<Tuple, Flow>(map::FLOWS, "lru_hash", MapType::LruHash, FLOWS_MAX),
    Spec::new::<Tuple, Nat>(map::NAT, "lru_hash", MapType::LruHash, FLOWS_MAX),
    Spec::new::<u32, Rate>(map::RATES, "hash", MapType::Hash, RATES_MAX),
    Spec::new::<Target, u64>(map::NAT_FULL, "lru_hash", MapType::LruHash, NAT_FULL_MAX),
    Spec::new::<Prefix, u32>(map::MASQ_EXEMPT, "lpm_trie", MapType::LpmTrie, MASQ_EXEMPT_MAX),
    Spec::new::<Fragment, Ports>(map::FRAGS, "lru_hash", MapType::LruHash, FRAGS_MAX),
    Spec::new::<Target, HostPort>(map::PORTS, "hash", MapType::Hash, PORTS_MAX),
    Spec::new::<Addr, u32>(map::NODE_ADDRS, "hash", MapType::Hash, NODE_ADDRS_MAX),
    Spec::new::<SockPeer, Target>(map::SOCKS, "lru_hash", MapType::LruHash, SOCKS_MAX),
    Spec::new::<u32, NodeState>(map::NODE, "array", MapType::Array, 1),
    Spec::new::<u32, Counter>(map::COUNTERS, "percpu_array", MapType::PerCpuArray, COUNTERS_MAX),
    Spec::new::<(), ()>(map::EVENTS, "ringbuf", MapType::RingBuf, EVENTS_BYTES),
    Spec::new::<(), ()>(map::PARKED, "ringbuf", MapType::RingBuf, PARKED_BYTES),
];

/// Makes sure that maps that are pinned already are what they must be; the sizes of those that the configuration
/// sizes are another matter.
pub(super) fn check_pinned(pins: &Pins) -> Result<(), DatapathError> {
    SPECS.iter().try_for_each(|spec| match spec.pinned(&pins.map(spec.name))? {
        Some(info) => spec.check(&info, &pins.map(spec.name)),
        None => Ok(()),
    })
}

impl Spec {
    const fn new<K, V>(name: &'static str, kind: &'static str, map_type: MapType, max_entries: u32) -> Self {
        Self { name, kind, map_type, key_size: size_of::<K>(), value_size: size_of::<V>(), max_entries }
    }

    /// Whether the configuration says how large it is.
    pub(super) fn is_sized(&self) -> bool {
        [map::FLOWS, map::NAT].contains(&self.name)
    }

    /// What the kernel knows of the map.
    pub(super) fn info(&self, pins: &Pins) -> Result<MapInfo, DatapathError> {
        MapInfo::from_pin(pins.map(self.name)).map_err(self.failed("open"))
    }

    /// What the kernel knows of the map that is pinned there, if one is.
    pub(super) fn pinned(&self, pin: &Path) -> Result<Option<MapInfo>, DatapathError> {
        match MapInfo::from_pin(pin) {
            Ok(info) => Ok(Some(info)),
            Err(MapError::SyscallError(error)) if is(&error, Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.failed("open")(error)),
        }
    }

    /// Compares all that the programs rely on.
    pub(super) fn check(&self, info: &MapInfo, path: &Path) -> Result<(), DatapathError> {
        let differs = |what, found: String, expected: String| {
            Err(DatapathError::PinnedMap { path: path.to_owned(), what, found, expected })
        };
        let map_type = info.map_type().map_err(self.failed("info"))?;
        if map_type != self.map_type {
            return differs("type", format!("{map_type:?}"), format!("{:?}", self.map_type));
        }
        let room = if self.is_sized() { info.max_entries() } else { self.max_entries };
        let sizes = [
            ("key size", info.key_size() as usize, self.key_size),
            ("value size", info.value_size() as usize, self.value_size),
            ("room for entries", info.max_entries() as usize, room as usize),
        ];
        match sizes.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => differs(what, found.to_string(), expected.to_string()),
            None => Ok(()),
        }
    }

    fn failed(&self, call: &'static str) -> impl FnOnce(MapError) -> DatapathError {
        let map = self.name;
        move |source| DatapathError::Map { call, map, source }
    }
}
