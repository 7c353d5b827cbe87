//! The node's own packets: they keep their ports, except where a pod's flow stands on one.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{Flow, FlowFlags, Reason};

use super::{age, fragment, port, tunnelled};
use crate::maps::{self, Case};
use crate::parse::{self, Kind, Packet, Protocol, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;

/// Lets the packet go, or translates it around the flow of a pod.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet) -> Reason {
    // Behind the other function, not in it: the stack is short.
    if may_meet(skb, packet) { skb.call(translate_host) } else { Reason::Host }
}

/// Whether the flow of a pod may be in the way.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn may_meet(skb: &mut Skb, packet: &Packet) -> bool {
    let Ok(mut transport) = parse::transport(skb, packet) else { return false };
    let tunnels = tunnelled::is_outer_transport(&transport);
    if tunnels || !maps::has_host_flows() && !begins(&transport) || !fragment::complete(packet, &mut transport) {
        return false;
    }
    let tuple = transport.outbound(packet);
    if !maps::has_host_flows() && maps::nat(&tuple).is_none() {
        return false;
    }
    let Some(case) = maps::case() else { return false };
    (case.packet, case.transport, case.tuple) = (*packet, transport, tuple);
    true
}

/// Verified once and by itself (a global function to the kernel), because it is called from many states; therefore it
/// takes what it needs from a place of this processor's.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_host(ctx: *mut __sk_buff) -> Reason {
    let Some(case) = maps::case() else { return Reason::Host };
    translate(&mut Skb::of(ctx), case).unwrap_or_else(|reason| reason)
}

#[inline(always)]
fn translate(skb: &mut Skb, case: &Case) -> Result<Reason, Reason> {
    let Case { packet, transport, tuple, .. } = case;
    let flow;
    if maps::has_host_flows()
        && let Some(live) = maps::flow(tuple)
        && live.get().flags & FlowFlags::HOST != 0
    {
        flow = live.get();
        age::touch_out(live, tuple, transport.flags);
    } else {
        match maps::nat(tuple) {
            Some(nat) if begins(transport) && nat.get().flags & FlowFlags::HOST == 0 => {}
            _ => return Ok(Reason::Host),
        }
        maps::set_host_flows();
        let (ifindex, nat_addr) = (skb.ifindex(), packet.src);
        flow = *port::assign(skb, |wish| {
            wish.tuple = *tuple;
            wish.flow = Flow { flags: FlowFlags::HOST, ifindex, nat_addr, ..Flow::default() };
            wish.fixed = 0;
        })?;
    }
    rewrite::translate(skb, packet, transport, End::Source, &flow.nat_addr, flow.nat_port)?;
    Ok(Reason::Translated)
}

/// Whether the packet may be the first of a flow.
#[inline(always)]
fn begins(transport: &Transport) -> bool {
    match transport.kind {
        Kind::Ports => transport.protocol != Protocol::TCP || age::begins(transport.flags),
        Kind::Echo => transport.src != weft_abi::ECHO,
        Kind::Error | Kind::Fixed => false,
    }
}
