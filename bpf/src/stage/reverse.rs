//! To a node's address: the way back of a flow that was translated, or the way to a pod that has a port of the node.

use weft_abi::{FlowFlags, Nat, Reason};

use super::{about, age, deliver, fragment, published, transport, tunnelled};
use crate::maps;
use crate::parse::{self, Kind, Packet, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

/// What a pod of this node sends to the node: perhaps for a port of another pod, or for one of its own.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn local(skb: &mut Skb, packet: &Packet) -> Result<Verdict, Reason> {
    if !maps::is_node_addr(&packet.dst) {
        return Ok(Verdict::Pass);
    }
    let Some(transport) = maps::transport() else { return Ok(Verdict::Pass) };
    if !transport::read(skb, packet, transport) {
        return Ok(Verdict::Pass);
    }
    match serve(skb, packet, transport, false)? {
        Verdict::Sent(Reason::Host, _) => Ok(Verdict::Pass),
        verdict => Ok(verdict),
    }
}

/// Gives the packet its pod's address and delivers it; what is the node's own goes on untouched.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    // Too short for its protocol: the stack knows.
    let Ok(mut transport) = parse::transport(skb, packet) else { return host };
    // Also of what is the node's own: else its later fragments would be taken for somebody's that are early.
    if !fragment::complete(packet, &mut transport) {
        fragment::park(skb, packet, &transport);
        return host;
    }
    serve(skb, packet, &transport, true)
}

#[inline(always)]
fn serve(skb: &mut Skb, packet: &Packet, transport: &Transport, uplink: bool) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    if tunnelled::is_outer_transport(transport) {
        return host;
    }
    if transport.kind == Kind::Error {
        return about::inbound(skb, packet, transport);
    }
    match known(skb, packet, transport) {
        Some(decision) => decision,
        None if maps::has_ports() => published::begin(skb, packet, transport, uplink),
        None => host,
    }
}

/// A packet of a flow that is known, to a pod that is there.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn known(skb: &mut Skb, packet: &Packet, transport: &Transport) -> Option<Result<Verdict, Reason>> {
    let tuple = transport.inbound(packet);
    let live = maps::nat(&tuple)?;
    let nat = live.get();
    if nat.flags & FlowFlags::PORT != 0 {
        if maps::pod(&nat.inside).is_none_or(|pod| pod.endpoint_id != nat.endpoint_id) {
            published::forget(&tuple, &nat);
            return None;
        }
        age::touch_port(live, &tuple, &nat, transport.flags);
    } else {
        age::touch_in(live, &nat, transport.flags);
    }
    Some(restore(skb, packet, transport, &nat))
}

#[inline(always)]
fn restore(skb: &mut Skb, packet: &Packet, transport: &Transport, nat: &Nat) -> Result<Verdict, Reason> {
    let to_stack = nat.flags & (FlowFlags::HOST | FlowFlags::VIA_STACK) != 0;
    let pod = if to_stack { None } else { Some(maps::pod(&nat.inside).ok_or(Reason::NoSuchPod)?) };
    rewrite::translate(skb, packet, transport, End::Destination, &nat.inside, nat.inside_port)?;
    match pod {
        Some(pod) => deliver::translated(skb, pod),
        None => Ok(Verdict::Sent(Reason::Translated, NEXT)),
    }
}
