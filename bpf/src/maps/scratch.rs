//! A place of each processor's own for what a function that is verified by itself is given; no program outlives its run
//! in it, and it is not pinned.

#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use weft_abi::{Event, Flow, Nat, Tuple};

/// What there is to translate, and what came of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// The flow as the inside knows it.
    pub(crate) tuple: Tuple,
    /// Beforehand the address that the outside is to see, the uplink, and [`weft_abi::FlowFlags`]; afterwards the flow as it is
    /// recorded.
    pub(crate) flow: Flow,
    /// Not 0: the port must stay.
    pub(crate) fixed: u32,
    /// The flow as the outside is to know it, with the port that is tried.
    pub(crate) back: Tuple,
    /// What is recorded of the way back.
    pub(crate) nat: Nat,
}

#[btf_map(name = "wish")]
static WISH: PerCpuArray<Wish, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn wish() -> Option<&'static mut Wish> {
    // SAFETY: no other program runs on this processor meanwhile, and ours keeps one reference at a time.
    WISH.get_ptr_mut(0).map(|wish| unsafe { &mut *wish })
}

#[btf_map(name = "event")]
static EVENT: PerCpuArray<Event, 1> = PerCpuArray::new();

/// This processor's place for a record in the making, all zero. The verifier follows every byte of the stack, but none
/// of a map's value.
#[inline(always)]
pub(crate) fn blank_event() -> Option<&'static mut Event> {
    // SAFETY: as above.
    let event = EVENT.get_ptr_mut(0).map(|event| unsafe { &mut *event })?;
    *event = Event::default();
    Some(event)
}
