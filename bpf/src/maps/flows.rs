//! Who talks with whom: `flows`, `nat`, `nat_full`, `frags`.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::btf_maps::LruHashMap;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::btf_map;
use weft_abi::{FLOWS_MAX, FRAGS_MAX, Flow, Fragment, NAT_FULL_MAX, Nat, Ports, Target, Tuple, tick};

#[btf_map(name = "flows")]
static FLOWS: LruHashMap<Tuple, Flow, { FLOWS_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "nat")]
static NAT: LruHashMap<Tuple, Nat, { FLOWS_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "nat_full")]
static NAT_FULL: LruHashMap<Target, u64, { NAT_FULL_MAX as usize }> = LruHashMap::new();

#[btf_map(name = "frags")]
static FRAGS: LruHashMap<Fragment, Ports, { FRAGS_MAX as usize }> = LruHashMap::new();

/// An entry that other processors may read and write at the same time: a field at a time, so that a race can cost no
/// more than a second of age or a flag that the next packet sets.
#[derive(Clone, Copy)]
pub(crate) struct Live<T: 'static>(pub(super) *mut T);

impl<T: Copy> Live<T> {
    /// What it holds now.
    #[inline(always)]
    pub(crate) fn get(self) -> T {
        // SAFETY: the kernel handed the pointer out for this program's run; any bit pattern is a value.
        unsafe { *self.0 }
    }

    /// Changes it.
    #[inline(always)]
    pub(crate) fn update(self, change: impl FnOnce(&mut T)) {
        // SAFETY: as above; nothing of the program keeps another reference.
        change(unsafe { &mut *self.0 });
    }
}

/// The time in ticks.
#[inline(always)]
pub(crate) fn now() -> u32 {
    tick(super::ktime())
}

/// A number that nobody foresees.
#[inline(always)]
pub(crate) fn random() -> u32 {
    // SAFETY: takes nothing.
    unsafe { bpf_get_prandom_u32() }
}

/// The flow with that tuple.
#[inline(always)]
pub(crate) fn flow(tuple: &Tuple) -> Option<Live<Flow>> {
    FLOWS.get_ptr_mut(tuple).map(Live)
}

/// The way back of the translated flow with that tuple.
#[inline(always)]
pub(crate) fn nat(tuple: &Tuple) -> Option<Live<Nat>> {
    NAT.get_ptr_mut(tuple).map(Live)
}

/// Records a flow that is not there yet; the error is the kernel's.
#[inline(always)]
pub(crate) fn add_flow(tuple: &Tuple, flow: &Flow) -> Result<(), i32> {
    FLOWS.insert(tuple, flow, BPF_NOEXIST.into())
}

/// Records a way back that is not there yet; the error is the kernel's.
#[inline(always)]
pub(crate) fn add_nat(tuple: &Tuple, nat: &Nat) -> Result<(), i32> {
    NAT.insert(tuple, nat, BPF_NOEXIST.into())
}

/// Records a flow, in the place of one that is there; the error is the kernel's.
#[inline(always)]
pub(crate) fn put_flow(tuple: &Tuple, flow: &Flow) -> Result<(), i32> {
    FLOWS.insert(tuple, flow, BPF_ANY.into())
}

/// Records a way back, in the place of one that is there; the error is the kernel's.
#[inline(always)]
pub(crate) fn put_nat(tuple: &Tuple, nat: &Nat) -> Result<(), i32> {
    NAT.insert(tuple, nat, BPF_ANY.into())
}

/// Forgets a flow.
#[inline(always)]
pub(crate) fn remove_flow(tuple: &Tuple) {
    // Gone already is as good.
    let _ = FLOWS.remove(tuple);
}

/// Forgets a way back.
#[inline(always)]
pub(crate) fn remove_nat(tuple: &Tuple) {
    // Gone already is as good.
    let _ = NAT.remove(tuple);
}

/// Counts a flow for which no port was left.
#[inline(always)]
pub(crate) fn count_full(target: &Target) {
    match NAT_FULL.get_ptr_mut(target) {
        // A count that is lost to a race changes nothing.
        Some(count) => Live(count).update(|count| *count += 1),
        None => {
            let _ = NAT_FULL.insert(target, 1, BPF_ANY.into());
        }
    }
}

/// The ports of a fragmented datagram.
#[inline(always)]
pub(crate) fn ports(fragment: &Fragment) -> Option<Ports> {
    FRAGS.get_ptr_mut(fragment).map(|ports| Live(ports).get())
}

/// Remembers the ports of a fragmented datagram; without room its other fragments are lost.
#[inline(always)]
pub(crate) fn remember(fragment: &Fragment, ports: Ports) {
    let _ = FRAGS.insert(fragment, ports, BPF_ANY.into());
}
