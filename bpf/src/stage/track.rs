//! Flows that the node's stack has carried return through it, so that what it translated is translated back.

use weft_abi::{Flow, FlowFlags, Pod, PodFlags, Tuple};

use super::{about, age, fragment};
use crate::maps::{self, Live};
use crate::parse::{self, Kind, Packet, Piece};
use crate::skb::Skb;

/// What `flows` says of a packet to a local pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing of the stack.
    Nothing = 0,
    /// The stack has carried its flow.
    ViaStack = 1,
    /// It is an ICMP error, which [`about`] has been given.
    Error = 2,
}

/// Whether a packet to that local pod has to go through the stack.
#[inline(always)]
pub(crate) fn is_via_stack(skb: &mut Skb, packet: &Packet, pod: &Pod) -> bool {
    if pod.flags & PodFlags::VIA_STACK == 0 {
        return false;
    }
    match look_up(skb, packet) {
        Found::Nothing => false,
        Found::ViaStack => true,
        // Behind the other function, not in it: the stack is short.
        Found::Error => about::is_via_stack(skb),
    }
}

/// The flow of a packet whose source is inside, or with `outbound` false its destination, and the packet's TCP flags;
/// `None` if the packet does not tell.
#[inline(always)]
pub(crate) fn read(skb: &mut Skb, packet: &Packet, outbound: bool) -> Option<(Tuple, u8)> {
    let mut transport = parse::transport(skb, packet).ok()?;
    if !fragment::complete(packet, &mut transport) {
        return None;
    }
    let tuple = if outbound { transport.outbound(packet) } else { transport.inbound(packet) };
    Some((tuple, transport.flags))
}

/// Whether a pod's packet that the stack knows nothing of answers one that came past the stack.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn is_answer(skb: &mut Skb, packet: &Packet) -> bool {
    let Ok(mut transport) = parse::transport(skb, packet) else { return false };
    if transport.kind == Kind::Error && transport.piece != Piece::Later {
        return true;
    }
    let asked = |flow: Live<Flow>| flow.get().flags & (FlowFlags::INBOUND | FlowFlags::VIA_STACK) == FlowFlags::INBOUND;
    fragment::complete(packet, &mut transport) && maps::flow(&transport.outbound(packet)).is_some_and(asked)
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn look_up(skb: &mut Skb, packet: &Packet) -> Found {
    let Ok(mut transport) = parse::transport(skb, packet) else { return Found::Nothing };
    if transport.kind == Kind::Error && transport.piece != Piece::Later {
        return if about::prepare(packet, &transport) { Found::Error } else { Found::Nothing };
    }
    if !fragment::complete(packet, &mut transport) {
        return Found::Nothing;
    }
    let Some(flow) = maps::flow(&transport.inbound(packet)) else { return Found::Nothing };
    age::touch(flow, transport.flags, false);
    if flow.get().flags & FlowFlags::VIA_STACK == 0 { Found::Nothing } else { Found::ViaStack }
}

/// Notes that the stack has carried a packet of the flow between a local pod and somebody else.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn note(skb: &mut Skb, packet: &Packet, outbound: bool) {
    let Some((tuple, tcp)) = read(skb, packet, outbound) else { return };
    let Some(flow) = maps::flow(&tuple) else {
        let begun = if outbound { 0 } else { FlowFlags::INBOUND };
        return add(&tuple, begun | FlowFlags::VIA_STACK | age::confirmed(tcp), skb.ifindex());
    };
    age::touch(flow, tcp, outbound);
    // What began at a port of the node is translated by ourselves alone.
    if flow.get().flags & (FlowFlags::VIA_STACK | FlowFlags::PORT) == 0 {
        flow.update(|flow| flow.flags |= FlowFlags::VIA_STACK);
        maps::set_via_stack(&tuple.inside);
    }
}

/// Records a flow that is not translated by us.
#[inline(always)]
pub(crate) fn add(tuple: &Tuple, flags: u32, ifindex: u32) {
    let now = maps::now();
    let flow = Flow { seen: now, created: now, flags, ifindex, ..Flow::default() };
    // Without room the next packet tries again.
    if maps::add_flow(tuple, &flow).is_ok() && flags & FlowFlags::VIA_STACK != 0 {
        maps::set_via_stack(&tuple.inside);
    }
}
