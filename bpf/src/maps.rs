//! The maps, typed by BTF; names and sizes are those of `weft-abi`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use weft_abi::{
    Addr, COUNTERS_MAX, Counter, Direction, DropEvent, EVENTS_BYTES, PODS_MAX, Pod, PodFlags, Reason, counter_index,
};

/// Without preallocation a removed entry is freed after a grace period, so no program that still reads it sees the
/// entry of another pod in its place.
#[btf_map(name = "pods")]
static PODS: HashMap<Addr, Pod, { PODS_MAX as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

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
pub(crate) fn record(write: impl FnOnce(&mut DropEvent)) {
    if let Some(mut entry) = EVENTS.reserve_untyped::<DropEvent>(0) {
        // SAFETY: takes nothing.
        let ktime_ns = unsafe { bpf_ktime_get_ns() };
        write(entry.write(DropEvent { ktime_ns, ..DropEvent::default() }));
        entry.submit(0);
    }
}
