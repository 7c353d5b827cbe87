//! From a pod out into the world: under the node's address.

use weft_abi::{Addr, Flow, FlowFlags, Reason, Tuple};

use super::{about, age, fragment, port, track};
use crate::maps;
use crate::parse::{self, Kind, Packet, Piece, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::Verdict;

/// Lets the packet go under an address that the outside can answer to.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet, via_stack: bool) -> Result<Verdict, Reason> {
    let mut transport = parse::transport(skb, packet)?;
    if transport.kind == Kind::Error && transport.piece != Piece::Later {
        return Verdict::of(about::outbound(skb, packet, &transport));
    }
    Verdict::of(translate(skb, packet, &mut transport, via_stack))
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn translate(skb: &mut Skb, packet: &Packet, transport: &mut Transport, via_stack: bool) -> Reason {
    replace_source(skb, packet, transport, via_stack).unwrap_or_else(|reason| reason)
}

/// Translates the source, unless the destination or the flow's begin says otherwise.
#[inline(always)]
fn replace_source(
    skb: &mut Skb,
    packet: &Packet,
    transport: &mut Transport,
    via_stack: bool,
) -> Result<Reason, Reason> {
    if !fragment::complete(packet, transport) {
        return translate_rest(skb, packet, transport);
    }
    let tuple = transport.outbound(packet);
    let (addr, port) = match maps::flow(&tuple) {
        Some(live) => {
            let flow = live.get();
            if flow.flags & FlowFlags::TRANSLATED == 0 {
                age::touch(live, transport.flags, true);
                return Ok(Reason::Passed);
            }
            age::touch_out(live, &tuple, transport.flags);
            (flow.nat_addr, flow.nat_port)
        }
        None => match begin(skb, transport, &tuple, via_stack)? {
            Some(flow) => (flow.nat_addr, flow.nat_port),
            None => return Ok(Reason::Passed),
        },
    };
    rewrite::translate(skb, packet, transport, End::Source, &addr, port)?;
    Ok(Reason::Translated)
}

/// The first packet of a flow, as far as we know: what it became, or nothing if it keeps its source.
#[inline(always)]
fn begin(
    skb: &mut Skb,
    transport: &Transport,
    tuple: &Tuple,
    via_stack: bool,
) -> Result<Option<&'static Flow>, Reason> {
    let flags = if via_stack { FlowFlags::VIA_STACK } else { 0 } | age::confirmed(transport.flags);
    if maps::is_exempt(&tuple.outside) {
        if via_stack {
            track::add(tuple, flags, skb.ifindex());
        }
        return Ok(None);
    }
    let nat_addr = address(skb, tuple.inside.is_v4()).ok_or(Reason::NoNatAddr)?;
    if transport.flags & Transport::RST != 0 {
        return Err(Reason::Unrelated);
    }
    let fixed = !matches!(transport.kind, Kind::Ports | Kind::Echo) || transport.piece == Piece::Later;
    let ifindex = skb.ifindex();
    let flow = port::assign(skb, |wish| {
        wish.tuple = *tuple;
        wish.flow = Flow { flags, ifindex, nat_addr, ..Flow::default() };
        wish.fixed = fixed.into();
    })?;
    Ok(Some(flow))
}

/// A fragment that came before the one with the ports: the address alone is in it, and alone changes.
#[inline(always)]
fn translate_rest(skb: &mut Skb, packet: &Packet, transport: &Transport) -> Result<Reason, Reason> {
    if maps::is_exempt(&packet.dst) {
        return Ok(Reason::Passed);
    }
    let addr = address(skb, packet.v4).ok_or(Reason::NoNatAddr)?;
    rewrite::translate(skb, packet, transport, End::Source, &addr, transport.src)?;
    Ok(Reason::Translated)
}

/// The node's address at this uplink.
#[inline(always)]
fn address(skb: &Skb, v4: bool) -> Option<Addr> {
    let uplink = maps::uplink(skb.ifindex())?;
    let addr = if v4 { uplink.v4 } else { uplink.v6 };
    (addr != Addr::default()).then_some(addr)
}
