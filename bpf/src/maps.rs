//! The maps, typed by BTF; names and sizes are those of `weft-abi`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use weft_abi::{
    Addr, COUNTERS_MAX, Counter, Direction, EVENTS_BYTES, Event, FLOWS_MAX, FRAGS_MAX, Flow, Fragment, MASQ_EXEMPT_MAX,
    NAT_FULL_MAX, Nat, NodeState, PEERS_MAX, PODS_MAX, Peer, Pod, PodFlags, Ports, Reason, Target, Tuple, UPLINKS_MAX,
    Uplink, counter_index,
};

/// Without preallocation a removed entry is freed after a grace period, so no program that still reads it sees the
/// entry of another pod in its place.
#[btf_map(name = "pods")]
static PODS: HashMap<Addr, Pod, { PODS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "peers")]
static PEERS: LpmTrie<Addr, Peer, { PEERS_MAX as usize }> = LpmTrie::new();

#[btf_map(name = "uplinks")]
static UPLINKS: HashMap<u32, Uplink, { UPLINKS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "flows")]
static FLOWS: LruHashMap<Tuple, Flow, { FLOWS_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "nat")]
static NAT: LruHashMap<Tuple, Nat, { FLOWS_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "nat_full")]
static NAT_FULL: LruHashMap<Target, u64, { NAT_FULL_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "masq_exempt")]
static MASQ_EXEMPT: LpmTrie<Addr, u32, { MASQ_EXEMPT_MAX as usize }> = LpmTrie::new();

#[btf_map(name = "frags")]
static FRAGS: LruHashMap<Fragment, Ports, { FRAGS_MAX as usize }> = LruHashMap::new();

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

/// Leaves a record of a drop, stamped with the time; without room for it the drop is only counted.
#[inline(always)]
pub(crate) fn record(write: impl FnOnce(&mut Event)) {
    if let Some(mut entry) = EVENTS.reserve_untyped::<Event>(0) {
        // SAFETY: takes nothing.
        let ktime_ns = unsafe { bpf_ktime_get_ns() };
        write(entry.write(Event { ktime_ns, ..Event::default() }));
        entry.submit(0);
    }
}

/// Keeps every map in the object until the stages use them.
pub(crate) fn touch() -> bool {
    let tuple = Tuple::default();
    // SAFETY: read and forgotten.
    unsafe {
        UPLINKS.get(1).is_some()
            && FLOWS.get(tuple).is_some()
            && NAT.get(tuple).is_some()
            && NAT_FULL.get(Target::default()).is_some()
            && FRAGS.get(Fragment::default()).is_some()
            && NODE.get(0).is_some()
            && PEERS.get(&aya_ebpf::btf_maps::lpm_trie::Key::new(128, Addr::default())).is_some()
            && MASQ_EXEMPT.get(&aya_ebpf::btf_maps::lpm_trie::Key::new(128, Addr::default())).is_some()
    }
}
