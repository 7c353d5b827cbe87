//! `flows`, `nat` and what the programs ask before they look into them.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_abi::{Addr, Flow, Fragment, Nat, NodeState, PodFlags, Ports, Target, TraceFilter, Tuple, map};

use super::maps::of;
use super::plain::{Put, Table};
use super::{Datapath, DatapathError, State};

/// Entries that the last look at a table found, without those removed since; the kernel does not count them.
#[derive(Debug)]
pub(super) struct Counted {
    found: AtomicU64,
    removed: AtomicU64,
}

impl Counted {
    pub(super) const fn unknown() -> Self {
        Self { found: AtomicU64::new(u64::MAX), removed: AtomicU64::new(0) }
    }

    pub(super) fn get(&self) -> Option<u64> {
        let found = Some(self.found.load(Ordering::Relaxed)).filter(|count| *count != u64::MAX)?;
        Some(found.saturating_sub(self.removed.load(Ordering::Relaxed)))
    }

    fn less(&self, removed: bool) {
        self.removed.fetch_add(removed.into(), Ordering::Relaxed);
    }
}

impl Datapath {
    /// Room for entries in each of `flows` and `nat`.
    pub(crate) fn flow_table_size(&self) -> u32 {
        self.flow_table_size
    }

    /// Every local pod.
    pub(crate) fn pods(&self) -> Result<Vec<(Addr, weft_abi::Pod)>, DatapathError> {
        self.maps.all_pods()
    }

    /// Whether the address is a local pod's.
    pub(crate) fn has_pod(&self, addr: &Addr) -> Result<bool, DatapathError> {
        Ok(self.maps.pods.get(addr).map_err(of("look-up", map::PODS))?.is_some())
    }

    /// Addresses of the uplinks.
    pub(crate) fn uplink_addresses(&self) -> Result<Vec<Addr>, DatapathError> {
        let uplinks = self.maps.uplinks.all().map_err(of("iterate", map::UPLINKS))?;
        let addresses = uplinks.into_iter().flat_map(|(_, uplink)| [uplink.v4, uplink.v6]);
        Ok(addresses.filter(|address| !address.is_unspecified()).collect())
    }

    /// Shows every flow, many at a time.
    pub(crate) fn visit_flows(&self, show: impl FnMut(&[Tuple], &[Flow])) -> Result<(), DatapathError> {
        visit(&self.maps.flows, map::FLOWS, &self.counted_flows, show)
    }

    /// Shows every translation, many at a time.
    pub(crate) fn visit_nat(&self, show: impl FnMut(&[Tuple], &[Nat])) -> Result<(), DatapathError> {
        visit(&self.maps.nat, map::NAT, &self.counted_nat, show)
    }

    /// One flow.
    pub(crate) fn flow(&self, key: &Tuple) -> Result<Option<Flow>, DatapathError> {
        self.maps.flows.get(key).map_err(of("look-up", map::FLOWS))
    }

    /// One translation.
    pub(crate) fn nat(&self, key: &Tuple) -> Result<Option<Nat>, DatapathError> {
        self.maps.nat.get(key).map_err(of("look-up", map::NAT))
    }

    /// The ports of a datagram that comes in fragments, once its first fragment was there.
    pub(crate) fn ports(&self, key: &Fragment) -> Result<Option<Ports>, DatapathError> {
        self.maps.frags.get(key).map_err(of("look-up", map::FRAGS))
    }

    /// Removes a flow; whether it was there.
    pub(crate) fn remove_flow(&self, key: &Tuple) -> Result<bool, DatapathError> {
        let removed = self.maps.flows.delete(key).map_err(of("delete", map::FLOWS))?;
        self.counted_flows.less(removed);
        Ok(removed)
    }

    /// Removes a translation; whether it was there.
    pub(crate) fn remove_nat(&self, key: &Tuple) -> Result<bool, DatapathError> {
        let removed = self.maps.nat.delete(key).map_err(of("delete", map::NAT))?;
        self.counted_nat.less(removed);
        Ok(removed)
    }

    /// Destinations towards which ports ran out, and how many flows found none.
    pub(crate) fn exhausted(&self) -> Result<Vec<(Target, u64)>, DatapathError> {
        self.maps.nat_full.all().map_err(of("iterate", map::NAT_FULL))
    }

    /// Notes for the programs whether flows of the pod return through the stack. One that sets the mark at the very
    /// same time may lose it until the next call.
    pub(crate) fn note_via_stack(&self, addr: &Addr, any: bool) -> Result<(), DatapathError> {
        // Whoever attaches or detaches meanwhile would have its entry undone.
        let _alone = self.state();
        let pods = &self.maps.pods;
        let Some(mut pod) = pods.get(addr).map_err(of("look-up", map::PODS))? else { return Ok(()) };
        let flags = if any { pod.flags | PodFlags::VIA_STACK } else { pod.flags & !PodFlags::VIA_STACK };
        if flags != pod.flags {
            pod.flags = flags;
            pods.put(addr, &pod, Put::Any).map_err(of("update", map::PODS))?;
        }
        Ok(())
    }

    /// Notes for the programs whether the node itself has translated flows; as of [`Datapath::note_via_stack`].
    pub(crate) fn note_host_flows(&self, any: bool) -> Result<(), DatapathError> {
        self.change_node(|node| node.host_flows = any.into())
    }

    /// Has the programs tell of the packets that the filter matches, or of none.
    pub(crate) fn trace(&self, filter: Option<TraceFilter>) -> Result<(), DatapathError> {
        self.change_node(|node| node.trace = filter.unwrap_or_default())
    }

    /// Tells the programs how many ports of the node are pods'.
    pub(super) fn tell_ports(&self, alone: &MutexGuard<'_, State>) -> Result<(), DatapathError> {
        let ports = self.maps.count_ports()?;
        self.change_node_alone(alone, |node| node.ports = ports)
    }

    pub(super) fn change_node(&self, change: impl FnOnce(&mut NodeState)) -> Result<(), DatapathError> {
        self.change_node_alone(&self.state(), change)
    }

    /// Two changes must not undo each other.
    fn change_node_alone(
        &self,
        _alone: &MutexGuard<'_, State>,
        change: impl FnOnce(&mut NodeState),
    ) -> Result<(), DatapathError> {
        let before = self.maps.node()?;
        let mut after = before;
        change(&mut after);
        if after != before {
            self.maps.node.put(&0, &after, Put::Any).map_err(of("update", map::NODE))?;
        }
        Ok(())
    }
}

fn visit<V: weft_abi::Plain>(
    table: &Table<Tuple, V>,
    name: &'static str,
    counted: &Counted,
    mut show: impl FnMut(&[Tuple], &[V]),
) -> Result<(), DatapathError> {
    let mut count = 0;
    counted.removed.store(0, Ordering::Relaxed);
    let counting = |keys: &[Tuple], values: &[V]| {
        count += keys.len() as u64;
        show(keys, values);
    };
    table.visit(counting).map_err(of("iterate", name))?;
    counted.found.store(count, Ordering::Relaxed);
    Ok(())
}
