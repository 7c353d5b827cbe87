//! From a pod out into the world: under the node's address.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{Addr, Flow, FlowFlags, Reason};

use super::{about, age, fragment, port, track};
use crate::maps::{self, Case};
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
    Verdict::of(match translate(skb, packet, &mut transport, via_stack) {
        Some(reason) => reason,
        // Behind the other function, not in it: the stack is short.
        None => skb.call(translate_first),
    })
}

/// `None` for the first packet of a flow, which [`translate_first`] sees to.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn translate(skb: &mut Skb, packet: &Packet, transport: &mut Transport, via_stack: bool) -> Option<Reason> {
    replace_source(skb, packet, transport, via_stack).unwrap_or_else(Some)
}

/// Translates the source, unless the flow's begin says otherwise.
#[inline(always)]
fn replace_source(
    skb: &mut Skb,
    packet: &Packet,
    transport: &mut Transport,
    via_stack: bool,
) -> Result<Option<Reason>, Reason> {
    if !fragment::complete(packet, transport) {
        return translate_rest(skb, packet, transport).map(Some);
    }
    let tuple = transport.outbound(packet);
    let Some(live) = maps::flow(&tuple) else {
        let case = maps::case().ok_or(Reason::FlowTable)?;
        (case.packet, case.transport, case.tuple) = (*packet, *transport, tuple);
        case.nat.flags = if via_stack { FlowFlags::VIA_STACK } else { 0 } | age::confirmed(transport.flags);
        return Ok(None);
    };
    let flow = live.get();
    if flow.flags & FlowFlags::TRANSLATED == 0 {
        age::touch(live, transport.flags, true);
        return Ok(Some(Reason::Passed));
    }
    age::touch_out(live, &tuple, transport.flags);
    rewrite::translate(skb, packet, transport, End::Source, &flow.nat_addr, flow.nat_port)?;
    Ok(Some(Reason::Translated))
}

/// Verified once and by itself (a global function to the kernel), because it is called from many states; therefore it
/// takes what it needs from a place of this processor's.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_first(ctx: *mut __sk_buff) -> Reason {
    let Some(case) = maps::case() else { return Reason::FlowTable };
    begin(&mut Skb::of(ctx), case).unwrap_or_else(|reason| reason)
}

/// The first packet of a flow, as far as we know: translates its source, unless the destination says otherwise.
#[inline(always)]
fn begin(skb: &mut Skb, case: &Case) -> Result<Reason, Reason> {
    let Case { packet, transport, tuple, .. } = case;
    let flags = case.nat.flags;
    if maps::is_exempt(&tuple.outside) {
        if flags & FlowFlags::VIA_STACK != 0 {
            track::add(tuple, flags, skb.ifindex());
        }
        return Ok(Reason::Passed);
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
    rewrite::translate(skb, packet, transport, End::Source, &flow.nat_addr, flow.nat_port)?;
    Ok(Reason::Translated)
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
