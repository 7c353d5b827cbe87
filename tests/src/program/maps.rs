//! The maps of loaded programs, entry by entry.

use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapError, PerCpuArray};
use weft_abi::{
    Addr, Counter, Direction, Flow, Fragment, Nat, NodeState, Peer, Pod, Ports, Prefix, Rate, Reason, Target, Tuple,
    Uplink, counter_index, map,
};

use super::Programs;
use super::layout::Layout;

/// Every counter, summed over the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Reason, Direction, Counter)>);

impl Counts {
    /// What was counted since.
    pub fn since(&self, before: &Self) -> Vec<(Reason, Direction, Counter)> {
        let pairs = self.0.iter().zip(&before.0).filter(|(now, then)| now.2 != then.2);
        pairs
            .map(|((reason, direction, now), (_, _, then))| {
                let new = Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes };
                (*reason, *direction, new)
            })
            .collect()
    }
}

impl Programs {
    /// Makes an address a pod's.
    pub fn add(&mut self, addr: IpAddr, pod: Pod) -> Result<()> {
        self.add_key(Addr::from(addr), pod)
    }

    /// Writes an entry of `pods`.
    pub fn add_key(&mut self, key: Addr, pod: Pod) -> Result<()> {
        self.put::<_, _, 16, 24>(map::PODS, &key, &pod)
    }

    /// The entry of `pods` for an address.
    pub fn pod(&self, addr: IpAddr) -> Result<Option<Pod>> {
        self.get::<_, _, 16, 24>(map::PODS, &Addr::from(addr))
    }

    /// Says where a range lives.
    pub fn add_peer(&mut self, range: &str, peer: Peer) -> Result<()> {
        self.put_prefix::<_, 32>(map::PEERS, range, &peer)
    }

    /// Exempts a range from masquerading.
    pub fn exempt(&mut self, range: &str) -> Result<()> {
        let map = self.ebpf.map_mut(map::MASQ_EXEMPT).context("no map of exempt ranges")?;
        let mut map = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
        let Prefix { bits, addr } = prefix(range)?;
        map.insert(&Key::new(bits, addr.octets()), 0, 0).with_context(|| format!("exempt {range}"))
    }

    /// Makes a device an uplink.
    pub fn add_uplink(&mut self, ifindex: u32, uplink: Uplink) -> Result<()> {
        let map = self.ebpf.map_mut(map::UPLINKS).context("no map of uplinks")?;
        let mut map = HashMap::<_, u32, [u8; 32]>::try_from(map)?;
        map.insert(ifindex, uplink.bytes()?, 0).context("write an entry of uplinks")
    }

    /// The entry of `flows` for a tuple.
    pub fn flow(&self, tuple: &Tuple) -> Result<Option<Flow>> {
        self.get::<_, _, 40, 40>(map::FLOWS, tuple)
    }

    /// Writes an entry of `flows`.
    pub fn put_flow(&mut self, tuple: &Tuple, flow: &Flow) -> Result<()> {
        self.put::<_, _, 40, 40>(map::FLOWS, tuple, flow)
    }

    /// Every entry of `flows`.
    pub fn flows(&self) -> Result<Vec<(Tuple, Flow)>> {
        self.all::<_, _, 40, 40>(map::FLOWS)
    }

    /// The entry of `nat` for a tuple.
    pub fn nat(&self, tuple: &Tuple) -> Result<Option<Nat>> {
        self.get::<_, _, 40, 32>(map::NAT, tuple)
    }

    /// Writes an entry of `nat`.
    pub fn put_nat(&mut self, tuple: &Tuple, nat: &Nat) -> Result<()> {
        self.put::<_, _, 40, 32>(map::NAT, tuple, nat)
    }

    /// Every entry of `nat`.
    pub fn nats(&self) -> Result<Vec<(Tuple, Nat)>> {
        self.all::<_, _, 40, 32>(map::NAT)
    }

    /// How many flows found no port towards a target.
    pub fn nat_full(&self, target: &Target) -> Result<u64> {
        let map = self.ebpf.map(map::NAT_FULL).context("no map of exhausted targets")?;
        found(HashMap::<_, [u8; 20], u64>::try_from(map)?.get(&target.bytes()?, 0)).map(Option::unwrap_or_default)
    }

    /// The ports of a datagram in fragments.
    pub fn fragment(&self, fragment: &Fragment) -> Result<Option<Ports>> {
        self.get::<_, _, 40, 4>(map::FRAGS, fragment)
    }

    /// Every entry of `frags`.
    pub fn fragments(&self) -> Result<Vec<(Fragment, Ports)>> {
        self.all::<_, _, 40, 4>(map::FRAGS)
    }

    /// The one entry of `node`.
    pub fn node(&self) -> Result<NodeState> {
        let map = self.ebpf.map(map::NODE).context("no map of the node")?;
        NodeState::from_bytes(&Array::<_, [u8; 60]>::try_from(map)?.get(&0, 0)?)
    }

    /// Writes the one entry of `node`.
    pub fn set_node(&mut self, node: &NodeState) -> Result<()> {
        let map = self.ebpf.map_mut(map::NODE).context("no map of the node")?;
        Array::<_, [u8; 60]>::try_from(map)?.set(0, node.bytes()?, 0).context("write the entry of node")
    }

    /// Writes an entry of `rates`.
    pub fn put_rate(&mut self, endpoint: u32, rate: &Rate) -> Result<()> {
        self.put::<_, _, 4, 200>(map::RATES, &endpoint, rate)
    }

    /// The entry of `rates` for an endpoint.
    pub fn rate(&self, endpoint: u32) -> Result<Option<Rate>> {
        self.get::<_, _, 4, 200>(map::RATES, &endpoint)
    }

    /// Reads every counter.
    pub fn counts(&self) -> Result<Counts> {
        let map = self.ebpf.map(map::COUNTERS).context("no map of counters")?;
        let counters = PerCpuArray::<_, [u64; 2]>::try_from(map)?;
        let mut counts = Vec::new();
        for (reason, direction) in Reason::ALL.iter().flat_map(|reason| Direction::ALL.map(|way| (*reason, way))) {
            let mut sum = Counter::default();
            for [packets, bytes] in counters.get(&counter_index(reason, direction), 0)?.iter() {
                sum.packets += packets;
                sum.bytes += bytes;
            }
            counts.push((reason, direction, sum));
        }
        Ok(Counts(counts))
    }

    pub(super) fn put<K: Layout<N>, V: Layout<M>, const N: usize, const M: usize>(
        &mut self,
        name: &str,
        key: &K,
        value: &V,
    ) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map = HashMap::<_, [u8; N], [u8; M]>::try_from(map)?;
        map.insert(key.bytes()?, value.bytes()?, 0).with_context(|| format!("write an entry of {name}"))
    }

    pub(super) fn get<K: Layout<N>, V: Layout<M>, const N: usize, const M: usize>(
        &self,
        name: &str,
        key: &K,
    ) -> Result<Option<V>> {
        let map = self.ebpf.map(name).with_context(|| format!("no map {name}"))?;
        let map = HashMap::<_, [u8; N], [u8; M]>::try_from(map)?;
        found(map.get(&key.bytes()?, 0))?.map(|bytes| V::from_bytes(&bytes)).transpose()
    }

    pub(super) fn all<K: Layout<N>, V: Layout<M>, const N: usize, const M: usize>(
        &self,
        name: &str,
    ) -> Result<Vec<(K, V)>> {
        let map = self.ebpf.map(name).with_context(|| format!("no map {name}"))?;
        let map = HashMap::<_, [u8; N], [u8; M]>::try_from(map)?;
        let entries = map.iter().map(|entry| {
            let (key, value) = entry?;
            Ok((K::from_bytes(&key)?, V::from_bytes(&value)?))
        });
        entries.collect()
    }

    fn put_prefix<V: Layout<M>, const M: usize>(&mut self, name: &str, range: &str, value: &V) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map = LpmTrie::<_, [u8; 16], [u8; M]>::try_from(map)?;
        let Prefix { bits, addr } = prefix(range)?;
        map.insert(&Key::new(bits, addr.octets()), value.bytes()?, 0)
            .with_context(|| format!("write {range} to {name}"))
    }
}

fn found<T>(answer: Result<T, MapError>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error).context("look an entry up"),
    }
}

/// A range as people write it, as the maps hold it.
fn prefix(range: &str) -> Result<Prefix> {
    let (network, bits) = range.split_once('/').with_context(|| format!("{range} is no range"))?;
    let network: IpAddr = network.parse().with_context(|| range.to_owned())?;
    let bits: u32 = bits.parse().with_context(|| range.to_owned())?;
    Ok(Prefix { bits: bits + if network.is_ipv4() { 96 } else { 0 }, addr: network.into() })
}
