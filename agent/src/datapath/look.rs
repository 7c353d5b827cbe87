//! What the maps hold, for people and metrics.

use serde_json::{Value, json};
use weft_abi::map;
use weft_cni::api::{MapInfo, VerdictCount};

use super::plain::Table;
use super::spec::{SPECS, Spec};
use super::{Datapath, DatapathError, dump, maps};

/// Entries of a map that are dumped at most: the tables of flows may have millions.
const DUMPED: usize = 10_000;

/// Percent of its room from which on a table of flows is worth a warning.
const NEARLY_FULL: u64 = 90;

impl Datapath {
    /// What makes the datapath worse than it could be, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let room = u64::from(self.flow_table_size);
        let tables = [(map::FLOWS, &self.counted_flows), (map::NAT, &self.counted_nat)];
        let full = tables.into_iter().filter_map(|(name, counted)| {
            let percent = counted.get()? * 100 / room.max(1);
            (percent >= NEARLY_FULL).then(|| {
                format!(
                    "map {name} is {percent} % full ({room} entries): the kernel makes room by forgetting the flows \
                     that were used least; give it more by flow-table-size"
                )
            })
        });
        self.attacher.expedite.problem().into_iter().chain(self.sockets_warning()).chain(full).collect()
    }

    /// Every map of ours.
    ///
    /// # Errors
    /// A pin cannot be opened.
    pub fn maps(&self) -> Result<Vec<MapInfo>, DatapathError> {
        let pins = &self.attacher.pins;
        let describe = |spec: &Spec| {
            let info = spec.info(pins)?;
            Ok(MapInfo {
                name: spec.name.to_owned(),
                kind: spec.kind.to_owned(),
                key_size: info.key_size(),
                value_size: info.value_size(),
                max_entries: info.max_entries(),
                entries: self.entries(spec.name, info.max_entries())?,
                pinned: pins.map(spec.name).display().to_string(),
            })
        };
        SPECS.iter().map(describe).collect()
    }

    /// Entries of a map, one JSON object each, addresses as people write them; `None` for a map that is not ours.
    /// Where there are more than fit, the last object says how many were left out.
    ///
    /// A ring buffer is a stream and an error.
    ///
    /// # Errors
    /// The map cannot be read, or is a stream.
    pub fn dump(&self, name: &str) -> Result<Option<Vec<Value>>, DatapathError> {
        let maps = &self.maps;
        let entries = match name {
            map::PODS => {
                let mut pods = maps.all_pods()?;
                pods.sort_by_key(|(addr, _)| addr.octets());
                pods.iter().map(|(addr, pod)| dump::pod(*addr, pod)).collect()
            }
            map::PEERS => some(&maps.peers, map::PEERS, |key, value| dump::peer(*key, value))?,
            map::UPLINKS => some(&maps.uplinks, map::UPLINKS, |key, value| dump::uplink(*key, value))?,
            map::FLOWS => some(&maps.flows, map::FLOWS, dump::flow)?,
            map::NAT => some(&maps.nat, map::NAT, dump::nat)?,
            map::NAT_FULL => some(&maps.nat_full, map::NAT_FULL, |key, value| dump::target(key, *value))?,
            map::MASQ_EXEMPT => some(&maps.masq_exempt, map::MASQ_EXEMPT, |key, _| dump::exempt(*key))?,
            map::FRAGS => some(&maps.frags, map::FRAGS, |key, value| dump::fragment(key, *value))?,
            map::RATES => some(&maps.rates, map::RATES, |key, value| dump::rate(*key, value))?,
            map::PORTS => some(&maps.ports, map::PORTS, dump::port)?,
            map::NODE_ADDRS => some(&maps.node_addrs, map::NODE_ADDRS, |key, _| dump::node_addr(*key))?,
            map::SOCKS => some(&maps.socks, map::SOCKS, dump::sock)?,
            map::NODE => some(&maps.node, map::NODE, |_, value| dump::node(value))?,
            map::COUNTERS => {
                let counts = maps.counts()?.into_iter();
                let counts = counts.map(|(reason, direction, sum)| dump::counter(reason, direction, sum));
                counts.filter_map(|count| serde_json::to_value(count).ok()).collect()
            }
            map::EVENTS => return Err(DatapathError::Stream { map: map::EVENTS }),
            map::PARKED => return Err(DatapathError::Stream { map: map::PARKED }),
            _ => return Ok(None),
        };
        Ok(Some(entries))
    }

    /// Verdicts that were counted at least once, summed over the CPUs.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn verdicts(&self) -> Result<Vec<VerdictCount>, DatapathError> {
        let counts = self.maps.counts()?.into_iter().filter(|(_, _, sum)| sum.packets > 0);
        Ok(counts.map(|(reason, direction, sum)| dump::counter(reason, direction, sum)).collect())
    }

    /// Entries now; of the tables of flows, those that the last sweep found.
    fn entries(&self, name: &str, room: u32) -> Result<Option<u64>, DatapathError> {
        let maps = &self.maps;
        Ok(match name {
            map::PODS => Some(count(&maps.pods, map::PODS)?),
            map::PEERS => Some(count(&maps.peers, map::PEERS)?),
            map::UPLINKS => Some(count(&maps.uplinks, map::UPLINKS)?),
            map::RATES => Some(count(&maps.rates, map::RATES)?),
            map::NAT_FULL => Some(count(&maps.nat_full, map::NAT_FULL)?),
            map::MASQ_EXEMPT => Some(count(&maps.masq_exempt, map::MASQ_EXEMPT)?),
            map::FRAGS => Some(count(&maps.frags, map::FRAGS)?),
            map::PORTS => Some(maps.count_ports()?.into()),
            map::NODE_ADDRS => Some(count(&maps.node_addrs, map::NODE_ADDRS)?),
            map::SOCKS => Some(count(&maps.socks, map::SOCKS)?),
            map::FLOWS => self.counted_flows.get(),
            map::NAT => self.counted_nat.get(),
            map::NODE | map::COUNTERS => Some(u64::from(room)),
            _ => None,
        })
    }
}

fn count<K: weft_abi::Plain, V: weft_abi::Plain>(
    table: &Table<K, V>,
    name: &'static str,
) -> Result<u64, DatapathError> {
    let mut count = 0;
    table.visit(|keys, _| count += keys.len() as u64).map_err(maps::of("iterate", name))?;
    Ok(count)
}

fn some<K: weft_abi::Plain, V: weft_abi::Plain>(
    table: &Table<K, V>,
    name: &'static str,
    describe: impl Fn(&K, &V) -> Value,
) -> Result<Vec<Value>, DatapathError> {
    let (mut entries, mut more) = (Vec::new(), 0);
    let show = |keys: &[K], values: &[V]| {
        let room = keys.len().min(DUMPED - entries.len());
        entries.extend(keys.iter().zip(values).take(room).map(|(key, value)| describe(key, value)));
        more += keys.len() - room;
    };
    table.visit(show).map_err(maps::of("iterate", name))?;
    if more > 0 {
        entries.push(json!({ "more": more }));
    }
    Ok(entries)
}
