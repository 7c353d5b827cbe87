//! The pinned maps: what they must be, and what is read from and written to them.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError, MapInfo, MapType, PerCpuArray, RingBuf};
use nix::errno::Errno;
use weft_abi::{
    Addr, COUNTERS_MAX, Counter, Direction, EVENTS_BYTES, PODS_MAX, Pod, PodFlags, Reason, counter_index, map,
};
use weft_cni::api::Origin;

use super::DatapathError;
use super::error::is;
use super::pins::Pins;
use super::plain::Plain;
use crate::endpoint::Endpoint;

type Pods = HashMap<MapData, Plain<Addr>, Plain<Pod>>;
type Counters = PerCpuArray<MapData, Plain<Counter>>;

/// What a map must be.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// As bpftool writes it.
    pub(super) kind: &'static str,
    map_type: MapType,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

/// Every map of ours.
pub(super) const SPECS: [Spec; 3] = [
    Spec {
        name: map::PODS,
        kind: "hash",
        map_type: MapType::Hash,
        key_size: size_of::<Addr>(),
        value_size: size_of::<Pod>(),
        max_entries: PODS_MAX,
    },
    Spec {
        name: map::COUNTERS,
        kind: "percpu_array",
        map_type: MapType::PerCpuArray,
        key_size: size_of::<u32>(),
        value_size: size_of::<Counter>(),
        max_entries: COUNTERS_MAX,
    },
    Spec {
        name: map::EVENTS,
        kind: "ringbuf",
        map_type: MapType::RingBuf,
        key_size: 0,
        value_size: 0,
        max_entries: EVENTS_BYTES,
    },
];

/// The maps that the agent reads and writes.
pub(super) struct Maps {
    pods: Mutex<Pods>,
    counters: Counters,
}

impl Maps {
    /// Takes the maps of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let mut take = |name| ebpf.take_map(name).ok_or(DatapathError::Incomplete { name });
        let pods = Pods::try_from(take(map::PODS)?).map_err(failed("open", map::PODS))?;
        let counters = Counters::try_from(take(map::COUNTERS)?).map_err(failed("open", map::COUNTERS))?;
        Ok(Self { pods: Mutex::new(pods), counters })
    }

    /// Writes the endpoint's entries; on failure those that were not there before go again.
    pub(super) fn write(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let mut pods = self.pods();
        let mut new = Vec::new();
        for (addr, value) in entries_of(endpoint) {
            let key = Plain(addr);
            let before = look_up(&pods, &key)?;
            if before == Some(value) {
                continue;
            }
            if let Err(error) = pods.insert(key, Plain(value), 0) {
                for key in new {
                    remove(&mut pods, &key)?;
                }
                return Err(full_or(error));
            }
            if before.is_none() {
                new.push(key);
            }
        }
        Ok(())
    }

    /// Removes the endpoint's entries; those that are another endpoint's by now stay.
    pub(super) fn erase(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let mut pods = self.pods();
        for (addr, _) in entries_of(endpoint) {
            let key = Plain(addr);
            if look_up(&pods, &key)?.is_some_and(|pod| pod.endpoint_id == endpoint.id) {
                remove(&mut pods, &key)?;
            }
        }
        Ok(())
    }

    /// Compares the entries with the endpoint.
    pub(super) fn verify(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let pods = self.pods();
        for (addr, value) in entries_of(endpoint) {
            match look_up(&pods, &Plain(addr))? {
                Some(pod) if pod == value => {}
                Some(_) => return Err(DatapathError::OtherEntry { address: addr.into() }),
                None => return Err(DatapathError::NoEntry { address: addr.into() }),
            }
        }
        Ok(())
    }

    /// Removes the entries for which `keep` is false; how many.
    pub(super) fn retain(&self, keep: impl Fn(&Addr, &Pod) -> bool) -> Result<usize, DatapathError> {
        let mut pods = self.pods();
        let stale: Vec<_> = entries(&pods)?.into_iter().filter(|(addr, pod)| !keep(addr, pod)).collect();
        for (addr, _) in &stale {
            remove(&mut pods, &Plain(*addr))?;
        }
        Ok(stale.len())
    }

    /// Every pod.
    pub(super) fn all(&self) -> Result<Vec<(Addr, Pod)>, DatapathError> {
        entries(&self.pods())
    }

    /// Every counter, summed over the CPUs.
    pub(super) fn counts(&self) -> Result<Vec<(Reason, Direction, Counter)>, DatapathError> {
        let mut counts = Vec::new();
        for reason in Reason::ALL.iter().copied() {
            for direction in Direction::ALL {
                let index = counter_index(reason, direction);
                let cpus = self.counters.get(&index, 0).map_err(failed("look-up", map::COUNTERS))?;
                let sum = cpus.iter().fold(Counter::default(), |sum, Plain(cpu)| Counter {
                    packets: sum.packets + cpu.packets,
                    bytes: sum.bytes + cpu.bytes,
                });
                counts.push((reason, direction, sum));
            }
        }
        Ok(counts)
    }

    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that maps that are pinned already are what they must be: aya takes whatever it finds.
pub(super) fn check_pinned(pins: &Pins) -> Result<(), DatapathError> {
    SPECS.iter().try_for_each(|spec| match spec.info(pins) {
        Err(DatapathError::Map { source: MapError::SyscallError(error), .. }) if is(&error, Errno::ENOENT) => Ok(()),
        info => spec.check(&info?, &pins.map(spec.name)),
    })
}

impl Spec {
    /// What the kernel knows of the pinned map.
    pub(super) fn info(&self, pins: &Pins) -> Result<MapInfo, DatapathError> {
        MapInfo::from_pin(pins.map(self.name)).map_err(failed("open", self.name))
    }

    fn check(&self, info: &MapInfo, path: &Path) -> Result<(), DatapathError> {
        let differs = |what, found: String, expected: String| {
            Err(DatapathError::PinnedMap { path: path.to_owned(), what, found, expected })
        };
        let map_type = info.map_type().map_err(failed("info", self.name))?;
        if map_type != self.map_type {
            return differs("type", format!("{map_type:?}"), format!("{:?}", self.map_type));
        }
        let sizes = [
            ("key size", info.key_size() as usize, self.key_size),
            ("value size", info.value_size() as usize, self.value_size),
            ("room for entries", info.max_entries() as usize, self.max_entries as usize),
        ];
        match sizes.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => differs(what, found.to_string(), expected.to_string()),
            None => Ok(()),
        }
    }
}

/// The ring buffer, opened anew: its reader owns it.
pub(super) fn open_events(pins: &Pins) -> Result<RingBuf<MapData>, DatapathError> {
    let open = || RingBuf::try_from(aya::maps::Map::from_map_data(MapData::from_pin(pins.map(map::EVENTS))?)?);
    open().map_err(failed("open", map::EVENTS))
}

/// The entries of an endpoint: one an address, and for an adopted one that of its link.
pub(super) fn entries_of(endpoint: &Endpoint) -> impl Iterator<Item = (Addr, Pod)> {
    let spec = &endpoint.spec;
    let adopted = endpoint.origin == Origin::Adopted;
    let pod = Pod {
        ifindex: spec.host_ifindex,
        flags: if adopted { PodFlags::ADOPTED } else { 0 },
        endpoint_id: endpoint.id,
        pod_mac: spec.pod_mac.0,
        host_mac: spec.host_mac.0,
    };
    let link = adopted.then(|| (Addr::of_link(spec.host_ifindex), pod.of_link()));
    spec.addresses.iter().map(move |address| (Addr::from(*address), pod)).chain(link)
}

fn look_up(pods: &Pods, key: &Plain<Addr>) -> Result<Option<Pod>, DatapathError> {
    match pods.get(key, 0) {
        Ok(Plain(pod)) => Ok(Some(pod)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(failed("look-up", map::PODS)(error)),
    }
}

fn remove(pods: &mut Pods, key: &Plain<Addr>) -> Result<(), DatapathError> {
    match pods.remove(key) {
        Err(MapError::SyscallError(error)) if is(&error, Errno::ENOENT) => Ok(()),
        other => other.map_err(failed("delete", map::PODS)),
    }
}

fn entries(pods: &Pods) -> Result<Vec<(Addr, Pod)>, DatapathError> {
    pods.iter()
        .map(|entry| entry.map(|(Plain(addr), Plain(pod))| (addr, pod)).map_err(failed("iterate", map::PODS)))
        .collect()
}

fn full_or(error: MapError) -> DatapathError {
    match error {
        MapError::SyscallError(error) if is(&error, Errno::E2BIG) => {
            DatapathError::Full { map: map::PODS, entries: PODS_MAX }
        }
        other => failed("update", map::PODS)(other),
    }
}

fn failed(call: &'static str, map: &'static str) -> impl FnOnce(MapError) -> DatapathError {
    move |source| DatapathError::Map { call, map, source }
}

#[cfg(test)]
mod tests {
    use weft_cni::api::EndpointSpec;
    use weft_cni::mac::Mac;

    use super::*;

    fn endpoint(origin: Origin) -> Endpoint {
        let spec = EndpointSpec {
            host_ifname: "weft00000000001".into(),
            host_ifindex: 9,
            host_mac: Mac([2, 0, 0, 0, 0, 2]),
            pod_mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: vec!["10.244.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            mtu: 1500,
        };
        Endpoint { id: 3, origin, spec }
    }

    #[test]
    fn an_endpoint_has_an_entry_for_each_address() {
        let entries: Vec<_> = entries_of(&endpoint(Origin::Created)).collect();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].0.is_v4() && !entries[1].0.is_v4());
        assert_eq!((entries[0].1.ifindex, entries[0].1.endpoint_id, entries[0].1.flags), (9, 3, 0));
        assert_eq!(entries[0].1, entries[1].1);
    }

    #[test]
    fn an_adopted_endpoint_has_one_more_for_its_link() {
        let (addr, pod) = entries_of(&endpoint(Origin::Adopted)).last().unwrap();
        assert_eq!(addr, Addr::of_link(9));
        assert_eq!((pod.ifindex, pod.endpoint_id, pod.flags), (0, 3, PodFlags::ADOPTED));
    }
}
