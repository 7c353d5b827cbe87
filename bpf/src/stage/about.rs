//! ICMP errors about translated flows: found by the packet that they quote, translated with it.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{FlowFlags, Nat, Reason, Tuple};

use super::deliver;
use crate::maps::{self, Case};
use crate::parse::{self, Packet, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

/// An error about a packet that a pod (or, on a port of ours, the node) sent into the world.
#[inline(always)]
pub(crate) fn inbound(skb: &mut Skb, packet: &Packet, error: &Transport) -> Result<Verdict, Reason> {
    match ask(packet, error).map_or(Reason::Host, |_| skb.call(restore_error)) {
        // Only the address of a pod is delivered to one: the way is told by the packet's new destination.
        Reason::Delivered => {
            let dst = skb.destination(packet.v4).ok_or(Reason::Malformed)?;
            let pod = maps::pod(&dst).ok_or(Reason::NoSuchPod)?;
            deliver::translated(skb, pod)
        }
        reason @ (Reason::Host | Reason::Translated) => Ok(Verdict::Sent(reason, NEXT)),
        reason => Err(reason),
    }
}

/// Leaves the error where the functions that are verified by themselves (global functions to the kernel) take it from;
/// they are called from many states.
#[inline(always)]
fn ask(packet: &Packet, error: &Transport) -> Option<&'static mut Case> {
    let case = maps::case()?;
    (case.packet, case.transport) = (*packet, *error);
    Some(case)
}

/// Reads what is quoted; false if it does not tell its flow.
#[inline(always)]
fn quote(skb: &Skb, case: &mut Case) -> bool {
    let Some(quoted) = parse::quoted(skb, &case.packet, &case.transport) else { return false };
    case.quoted = quoted;
    true
}

/// Gives one end of the quoted packet, and the other end of the error, the address in `case.nat`.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn rewrite(skb: &mut Skb, case: &Case, end: End) -> Reason {
    let Case { packet, transport, quoted, nat, .. } = case;
    let other = if end == End::Source { End::Destination } else { End::Source };
    rewrite::translate_quoted(skb, packet, transport, quoted, end, &nat.inside, nat.inside_port)
        .and_then(|()| rewrite::translate(skb, packet, transport, other, &nat.inside, 0))
        .err()
        .unwrap_or(Reason::Translated)
}

#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn restore_error(ctx: *mut __sk_buff) -> Reason {
    let (skb, Some(case)) = (&mut Skb::of(ctx), maps::case()) else { return Reason::Host };
    if !quote(skb, case) {
        return Reason::Host;
    }
    case.tuple = case.quoted.tuple(true);
    let Some(nat) = maps::nat(&case.tuple) else { return Reason::Host };
    case.nat = nat.get();
    match rewrite(skb, case, End::Source) {
        Reason::Translated if case.nat.flags & (FlowFlags::HOST | FlowFlags::VIA_STACK) == 0 => Reason::Delivered,
        reason => reason,
    }
}

/// What is known of the packet that a pod's error is about: [`FlowFlags::PORT`] if somebody sent it to a port of the
/// node, and then its flow, whoever sent it inside, what was asked for outside; [`FlowFlags::VIA_STACK`]; or nothing.
#[inline(always)]
pub(crate) fn asked(skb: &mut Skb, packet: &Packet, error: &Transport, back: &mut Tuple) -> u32 {
    let Some(case) = ask(packet, error) else { return 0 };
    let flags = skb.call(find_asked);
    if flags != 0 {
        *back = case.tuple;
    }
    flags
}

#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_asked(ctx: *mut __sk_buff) -> u32 {
    let Some(case) = maps::case() else { return 0 };
    if !quote(&Skb::of(ctx), case) {
        return 0;
    }
    case.tuple = case.quoted.tuple(false);
    let Some(flow) = maps::flow(&case.tuple).map(maps::Live::get) else { return 0 };
    let Case { quoted, .. } = case;
    case.tuple = Tuple::between(quoted.protocol, (quoted.src, quoted.src_port), (flow.nat_addr, flow.nat_port));
    flow.flags & (FlowFlags::PORT | FlowFlags::VIA_STACK)
}

/// Makes ready for [`is_via_stack`].
#[inline(always)]
pub(crate) fn prepare(packet: &Packet, error: &Transport) -> bool {
    ask(packet, error).is_some()
}

/// Whether the error is about what a pod sent by way of the node's stack, which then has to translate it.
#[inline(always)]
pub(crate) fn is_via_stack(skb: &mut Skb) -> bool {
    skb.call(find_carried) != 0
}

#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_carried(ctx: *mut __sk_buff) -> u32 {
    let Some(case) = maps::case() else { return 0 };
    if !quote(&Skb::of(ctx), case) {
        return 0;
    }
    case.tuple = case.quoted.tuple(true);
    maps::flow(&case.tuple).map_or(0, |flow| flow.get().flags & FlowFlags::VIA_STACK)
}

/// What is left to be done for a pod that asked itself: it knows its own address and port in the place of the node's.
#[inline(always)]
pub(crate) fn to_itself(skb: &mut Skb, packet: &Packet, error: &Transport, own: &Nat) -> Reason {
    let Some(case) = ask(packet, error) else { return Reason::Unrelated };
    case.nat = *own;
    skb.call(restore_own)
}

#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn restore_own(ctx: *mut __sk_buff) -> Reason {
    let (skb, Some(case)) = (&mut Skb::of(ctx), maps::case()) else { return Reason::Unrelated };
    if quote(skb, case) { rewrite(skb, case, End::Source) } else { Reason::Unrelated }
}

/// An error that a pod sends about a packet that came to it from the world.
#[inline(always)]
pub(crate) fn outbound(skb: &mut Skb, packet: &Packet, error: &Transport) -> Reason {
    match ask(packet, error) {
        Some(_) => skb.call(translate_error),
        None => Reason::Unrelated,
    }
}

#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_error(ctx: *mut __sk_buff) -> Reason {
    let (skb, Some(case)) = (&mut Skb::of(ctx), maps::case()) else { return Reason::Unrelated };
    let unknown = if maps::is_exempt(&case.packet.dst) { Reason::Passed } else { Reason::Unrelated };
    if !quote(skb, case) {
        return unknown;
    }
    case.tuple = case.quoted.tuple(false);
    let Some(flow) = maps::flow(&case.tuple).map(maps::Live::get) else { return unknown };
    let own = unknown == Reason::Passed && flow.flags & FlowFlags::PORT == 0;
    if own || flow.flags & FlowFlags::TRANSLATED == 0 {
        return Reason::Passed;
    }
    (case.nat.inside, case.nat.inside_port) = (flow.nat_addr, flow.nat_port);
    rewrite(skb, case, End::Destination)
}
