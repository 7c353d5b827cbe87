//! ICMP errors about translated flows: found by the packet that they quote, translated with it.

use weft_abi::{Addr, FlowFlags, Reason};

use super::deliver;
use crate::maps;
use crate::parse::{self, Packet, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

/// An error about a packet that a pod (or, on a port of ours, the node) sent into the world.
#[inline(always)]
pub(crate) fn inbound(skb: &mut Skb, packet: &Packet, error: &Transport) -> Result<Verdict, Reason> {
    match restore(skb, packet, error) {
        // Only the address of a pod is delivered to one: the way is told by the packet's new destination.
        Reason::Delivered => {
            let dst = skb.destination(packet.v4).ok_or(Reason::Malformed)?;
            let pod = maps::pod(&dst).ok_or(Reason::NoSuchPod)?;
            deliver::translated(skb, pod)
        }
        Reason::Host => Ok(Verdict::Sent(Reason::Host, NEXT)),
        reason => Verdict::of(reason),
    }
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn restore(skb: &mut Skb, packet: &Packet, error: &Transport) -> Reason {
    let Some(quoted) = parse::quoted(skb, packet, error) else { return Reason::Host };
    let Some(nat) = maps::nat(&quoted.tuple(true)).map(maps::Live::get) else { return Reason::Host };
    let (addr, port) = (nat.inside, nat.inside_port);
    let restored = rewrite::translate_quoted(skb, packet, error, &quoted, End::Source, &addr, port)
        .and_then(|()| rewrite::translate(skb, packet, error, End::Destination, &addr, 0));
    match restored {
        Err(reason) => reason,
        Ok(()) if nat.flags & (FlowFlags::HOST | FlowFlags::VIA_STACK) != 0 => Reason::Translated,
        Ok(()) => Reason::Delivered,
    }
}

/// Finds the address of the node to which somebody sent what the error of a pod is about; false if it was for no port
/// of the node.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn asked(skb: &Skb, packet: &Packet, error: &Transport, addr: &mut Addr) -> bool {
    let Some(quoted) = parse::quoted(skb, packet, error) else { return false };
    let Some(flow) = maps::flow(&quoted.tuple(false)).map(maps::Live::get) else { return false };
    *addr = flow.nat_addr;
    flow.flags & FlowFlags::PORT != 0
}

/// An error that a pod sends about a packet that came to it from the world.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn outbound(skb: &mut Skb, packet: &Packet, error: &Transport) -> Reason {
    let unknown = if maps::is_exempt(&packet.dst) { Reason::Passed } else { Reason::Unrelated };
    let Some(quoted) = parse::quoted(skb, packet, error) else { return unknown };
    let Some(flow) = maps::flow(&quoted.tuple(false)).map(maps::Live::get) else { return unknown };
    let own = unknown == Reason::Passed && flow.flags & FlowFlags::PORT == 0;
    if own || flow.flags & FlowFlags::TRANSLATED == 0 {
        return Reason::Passed;
    }
    let (addr, port) = (flow.nat_addr, flow.nat_port);
    rewrite::translate_quoted(skb, packet, error, &quoted, End::Destination, &addr, port)
        .and_then(|()| rewrite::translate(skb, packet, error, End::Source, &addr, 0))
        .err()
        .unwrap_or(Reason::Translated)
}
