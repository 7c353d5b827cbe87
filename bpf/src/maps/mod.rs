//! The maps, typed by BTF; names and sizes are those of `weft-abi`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

mod flows;
mod parked;
mod places;
mod ports;
mod rates;
mod scratch;
mod socks;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use weft_abi::{
    Addr, COUNTERS_MAX, Counter, Direction, EVENTS_BYTES, Event, NodeState, PODS_MAX, Pod, PodFlags, Reason,
    TraceFilter, counter_index,
};

pub(crate) use flows::{
    Live, add_flow, add_nat, count_full, flow, nat, now, ports, put_flow, put_nat, random, remember, remove_flow,
    remove_nat,
};
pub(crate) use parked::park;
pub(crate) use places::{is_exempt, peer, uplink};
pub(crate) use ports::{host_port, is_node_addr};
pub(crate) use rates::bucket;
pub(crate) use scratch::{
    Case, Distant, Leg, Opening, Wish, blank_event, case, distant, leg, opening, transport, wish,
};
pub(crate) use socks::{asked, note_asked};

/// Without preallocation a removed entry is freed after a grace period, so no program that still reads it sees the
/// entry of another pod in its place.
#[btf_map(name = "pods")]
static PODS: HashMap<Addr, Pod, { PODS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "node")]
static NODE: Array<NodeState, 1> = Array::new();

#[btf_map(name = "counters")]
static COUNTERS: PerCpuArray<Counter, { COUNTERS_MAX as usize }> = PerCpuArray::new();

// Its records are no single type to the kernel: libbpf refuses a ring buffer with a value type.
#[btf_map(name = "events")]
static EVENTS: RingBuf<(), { EVENTS_BYTES as usize }> = RingBuf::new();

/// The local pod with that address.
#[inline(always)]
pub(crate) fn pod(addr: &Addr) -> Option<&'static Pod> {
    // SAFETY: entries are replaced whole and freed after a grace period, which outlasts this program's run.
    unsafe { PODS.get(addr) }
}

/// The adopted pod behind that interface; `None` for a pod of our own making.
#[inline(always)]
pub(crate) fn adopted(ifindex: u32) -> Option<&'static Pod> {
    pod(&Addr::of_link(ifindex)).filter(|pod| pod.flags & PodFlags::ADOPTED != 0)
}

/// Notes that flows of the pod with that address return through the stack.
#[inline(always)]
pub(crate) fn set_via_stack(addr: &Addr) {
    if let Some(pod) = PODS.get_ptr_mut(addr) {
        // SAFETY: the entry lives as above; the agent writes it whole, and puts back a flag that got lost that way.
        let pod = unsafe { &mut *pod };
        pod.flags |= PodFlags::VIA_STACK;
    }
}

/// Which packets somebody traces; `None` while nobody does.
#[inline(always)]
pub(crate) fn trace() -> Option<&'static TraceFilter> {
    NODE.get(0).map(|node| &node.trace).filter(|trace| trace.enabled != 0)
}

/// Where packets of limited pods wait.
#[derive(Clone, Copy)]
pub(crate) struct Shaper {
    /// The device that they are sent by.
    pub(crate) entrance: u32,
    /// Its far end.
    pub(crate) exit: u32,
    /// Whether they get a time to leave, else a class.
    pub(crate) departs: bool,
}

/// The shaper, while there is one.
#[inline(always)]
pub(crate) fn shaper() -> Option<Shaper> {
    let node = NODE.get(0).filter(|node| node.shaper != 0)?;
    Some(Shaper { entrance: node.shaper, exit: node.shaped, departs: node.departure != 0 })
}

/// Whether a flow of the node's own is translated.
#[inline(always)]
pub(crate) fn has_host_flows() -> bool {
    NODE.get(0).is_some_and(|node| node.host_flows != 0)
}

/// Whether any port of the node is a pod's.
#[inline(always)]
pub(crate) fn has_ports() -> bool {
    NODE.get(0).is_some_and(|node| node.ports != 0)
}

/// Notes that a flow of the node's own is translated.
#[inline(always)]
pub(crate) fn set_host_flows() {
    if let Some(node) = NODE.get_ptr_mut(0) {
        // SAFETY: array entries live as long as the map; the field is one word.
        unsafe { (*node).host_flows = 1 };
    }
}

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(reason: Reason, direction: Direction, bytes: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter_index(reason, direction)) {
        // SAFETY: the value is this CPU's own, and a tc program is not interrupted by another one on its CPU.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += u64::from(bytes);
    }
}

/// Leaves a record; without room for it it is lost.
#[inline(always)]
pub(crate) fn record(event: &Event) {
    let _ = EVENTS.output_untyped::<Event>(event, 0);
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub(crate) fn ktime() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_ns() }
}
