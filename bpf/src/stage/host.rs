//! The node's own packets: they keep their ports, except where a pod's flow stands on one.

use weft_abi::{Flow, FlowFlags, Reason};

use super::{age, fragment, port, tunnelled};
use crate::maps;
use crate::parse::{self, Kind, Packet, Protocol, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;

/// Lets the packet go, or translates it around the flow of a pod.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet) -> Reason {
    let Ok(mut transport) = parse::transport(skb, packet) else { return Reason::Host };
    let tunnels = tunnelled::is_outer_transport(&transport);
    if tunnels || !maps::has_host_flows() && !begins(&transport) || !fragment::complete(packet, &mut transport) {
        return Reason::Host;
    }
    translate(skb, packet, &transport).unwrap_or_else(|reason| reason)
}

#[inline(always)]
fn translate(skb: &mut Skb, packet: &Packet, transport: &Transport) -> Result<Reason, Reason> {
    let tuple = transport.outbound(packet);
    let flow;
    if maps::has_host_flows()
        && let Some(live) = maps::flow(&tuple)
        && live.get().flags & FlowFlags::HOST != 0
    {
        flow = live.get();
        age::touch_out(live, &tuple, transport.flags);
    } else {
        match maps::nat(&tuple) {
            Some(nat) if begins(transport) && nat.get().flags & FlowFlags::HOST == 0 => {}
            _ => return Ok(Reason::Host),
        }
        maps::set_host_flows();
        let (ifindex, nat_addr) = (skb.ifindex(), packet.src);
        flow = *port::assign(skb, |wish| {
            wish.tuple = tuple;
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
