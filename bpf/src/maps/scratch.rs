//! A place of each processor's own for what a function that is verified by itself is given; no program outlives its run
//! in it, and it is not pinned.

#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use weft_abi::{Event, Flow, Nat, Target, Tuple};

use crate::parse::{Packet, Quoted, Transport};
use crate::skb::Hop;

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
    /// Towards whom no port was left.
    pub(crate) target: Target,
}

#[btf_map(name = "wish")]
static WISH: PerCpuArray<Wish, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn wish() -> Option<&'static mut Wish> {
    // SAFETY: no other program runs on this processor meanwhile, and ours keeps one reference at a time.
    WISH.get_ptr_mut(0).map(|wish| unsafe { &mut *wish })
}

/// A packet for a port of the node whose flow is not known, and what came of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    /// The flow as whoever sent the packet knows it, the node inside.
    pub(crate) asked: Tuple,
    /// TCP flags of the packet.
    pub(crate) tcp: u32,
    /// The port that is looked for.
    pub(crate) target: Target,
    /// Afterwards the flow with the outside that the pod is to see: another one if the pod asked for itself.
    pub(crate) shown: Tuple,
    /// Afterwards where the packet goes.
    pub(crate) nat: Nat,
    /// A flow as its inside knows it.
    pub(crate) tuple: Tuple,
    /// What is recorded of it.
    pub(crate) flow: Flow,
}

#[btf_map(name = "opening")]
static OPENING: PerCpuArray<Opening, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn opening() -> Option<&'static mut Opening> {
    // SAFETY: as above.
    OPENING.get_ptr_mut(0).map(|opening| unsafe { &mut *opening })
}

#[btf_map(name = "transport")]
static TRANSPORT: PerCpuArray<Transport, 1> = PerCpuArray::new();

/// This processor's place for a transport header.
#[inline(always)]
pub(crate) fn transport() -> Option<&'static mut Transport> {
    // SAFETY: as above; it is all zero at first, which is a value.
    TRANSPORT.get_ptr_mut(0).map(|transport| unsafe { &mut *transport })
}

/// A packet whose transport header is not in its usual place.
#[derive(Clone, Copy)]
pub(crate) struct Distant {
    pub(crate) packet: Packet,
    /// Afterwards the header that was found.
    pub(crate) transport: Transport,
}

#[btf_map(name = "distant")]
static DISTANT: PerCpuArray<Distant, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn distant() -> Option<&'static mut Distant> {
    // SAFETY: as above; it is all zero at first, which is a value.
    DISTANT.get_ptr_mut(0).map(|distant| unsafe { &mut *distant })
}

/// A packet that is to be translated away from the usual ways: an ICMP error with what it quotes, or the node's own.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) packet: Packet,
    pub(crate) transport: Transport,
    pub(crate) quoted: Quoted,
    /// The flow that it is of or about.
    pub(crate) tuple: Tuple,
    /// What is done to it.
    pub(crate) nat: Nat,
}

#[btf_map(name = "case")]
static CASE: PerCpuArray<Case, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn case() -> Option<&'static mut Case> {
    // SAFETY: as above; it is all zero at first, which is a value.
    CASE.get_ptr_mut(0).map(|case| unsafe { &mut *case })
}

/// Where an answer goes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Leg {
    /// The way to another machine.
    pub(crate) hop: Hop,
    /// The way back into a pod that asked itself.
    pub(crate) own: Nat,
}

#[btf_map(name = "leg")]
static LEG: PerCpuArray<Leg, 1> = PerCpuArray::new();

/// This processor's place.
#[inline(always)]
pub(crate) fn leg() -> Option<&'static mut Leg> {
    // SAFETY: as above.
    LEG.get_ptr_mut(0).map(|leg| unsafe { &mut *leg })
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
