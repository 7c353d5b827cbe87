//! The maps, typed by BTF; names and sizes are those of `weft-abi`.

use aya_ebpf::btf_maps::{HashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use weft_abi::{Addr, COUNTERS_MAX, Counter, DropEvent, EVENTS_BYTES, PODS_MAX, Pod};

#[btf_map(name = "pods")]
pub(crate) static PODS: HashMap<Addr, Pod, { PODS_MAX as usize }> = HashMap::new();

#[btf_map(name = "counters")]
pub(crate) static COUNTERS: PerCpuArray<Counter, { COUNTERS_MAX as usize }> = PerCpuArray::new();

#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<DropEvent, { EVENTS_BYTES as usize }> = RingBuf::new();
