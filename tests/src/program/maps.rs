//! The maps as bytes, so that the layout is checked too.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use aya::maps::{HashMap, PerCpuArray};
use weft_abi::{Addr, Counter, Direction, Event, Pod, Reason, counter_index, map};

use super::Programs;

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
        let pods = self.ebpf.map_mut(map::PODS).context("no map of pods")?;
        let mut pods = HashMap::<_, [u8; 16], [u8; 24]>::try_from(pods)?;
        pods.insert(key.octets(), pod_bytes(pod), 0).context("write an entry of pods")
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
}

fn pod_bytes(pod: Pod) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&pod.ifindex.to_ne_bytes());
    bytes[4..8].copy_from_slice(&pod.flags.to_ne_bytes());
    bytes[8..12].copy_from_slice(&pod.endpoint_id.to_ne_bytes());
    bytes[12..18].copy_from_slice(&pod.pod_mac);
    bytes[18..].copy_from_slice(&pod.host_mac);
    bytes
}

/// Reads a record of `events`.
pub(super) fn event(bytes: &[u8]) -> Result<Event> {
    ensure!(bytes.len() == size_of::<Event>(), "a record of {} bytes", bytes.len());
    let word = |at: usize| Ok::<_, anyhow::Error>(u32::from_ne_bytes(bytes[at..at + 4].try_into()?));
    Ok(Event {
        ktime_ns: u64::from_ne_bytes(bytes[..8].try_into()?),
        reason: word(8)?,
        direction: word(12)?,
        ifindex: word(16)?,
        len: word(20)?,
        src: Addr::from_octets(bytes[24..40].try_into()?),
        dst: Addr::from_octets(bytes[40..56].try_into()?),
        ethertype: u16::from_ne_bytes(bytes[56..58].try_into()?),
        protocol: bytes[58],
        kind: bytes[59],
        src_mac: bytes[60..66].try_into()?,
        dst_mac: bytes[66..72].try_into()?,
        src_port: u16::from_ne_bytes(bytes[72..74].try_into()?),
        dst_port: u16::from_ne_bytes(bytes[74..76].try_into()?),
        hook: bytes[76],
        pad: bytes[77..].try_into()?,
    })
}
