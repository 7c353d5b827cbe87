//! When a flow was last seen, and how far its end has come.

use weft_abi::{Flow, FlowFlags, Nat, Tuple};

use crate::maps::{self, Live, Wish};
use crate::parse::Transport;

/// TCP flags that change what is known of a flow.
const EVENTFUL: u8 = Transport::SYN | Transport::FIN | Transport::RST;

/// A packet of a flow that is not translated. Written only when something changed.
#[inline(always)]
pub(crate) fn touch(flow: Live<Flow>, tcp: u8, outbound: bool) {
    let now = maps::now();
    let before = flow.get();
    let begun_here = outbound == (before.flags & FlowFlags::INBOUND == 0);
    let flags = closing(before.flags, tcp, outbound) | if begun_here { confirmed(tcp) } else { FlowFlags::REPLIED };
    if before.seen != now || before.flags != flags {
        flow.update(|flow| {
            flow.seen = now;
            flow.flags = flags;
        });
    }
}

/// A packet from the inside of a translated flow. Written only when something changed.
#[inline(always)]
pub(crate) fn touch_out(flow: Live<Flow>, tuple: &Tuple, tcp: u8) {
    let Flow { seen, flags, .. } = flow.get();
    if seen != maps::now() || begins(tcp) {
        if let Some(wish) = maps::wish() {
            wish.tuple = *tuple;
            refresh_flow(tcp.into());
        }
        return;
    }
    let new = closing(flags, tcp, true) | told(flags, tcp);
    if new != flags {
        flow.update(|flow| flow.flags = new);
    }
}

/// Once a tick, and whenever TCP begins. The way back is looked at too, so that the kernel does not take it for
/// forgotten, and made again if it was.
///
/// Verified once and by itself (a global function to the kernel), because it is called from many states; therefore it
/// takes the flow's tuple from a place of this processor's.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refresh_flow(tcp: u32) -> u32 {
    let Some(wish) = maps::wish() else { return 0 };
    // It may have gone meanwhile: the next packet begins it anew.
    if let Some(flow) = maps::flow(&wish.tuple) {
        refresh(flow, wish, tcp as u8);
    }
    0
}

#[inline(always)]
fn refresh(flow: Live<Flow>, wish: &mut Wish, tcp: u8) {
    let now = maps::now();
    let before = flow.get();
    let flags = closing(before.flags, tcp, true) | told(before.flags, tcp);
    let kept = before.flags & (FlowFlags::VIA_STACK | FlowFlags::HOST | FlowFlags::INBOUND | FlowFlags::PORT);
    wish.back = wish.tuple.inside_as(before.nat_addr, before.nat_port);
    match maps::nat(&wish.back) {
        Some(nat) if begins(tcp) && nat.get().flags & FlowFlags::CLOSING != 0 => nat.update(|nat| {
            nat.seen = 0;
            nat.flags = kept;
        }),
        Some(_) => {}
        None => {
            let endpoint_id = if kept & FlowFlags::PORT == 0 { 0 } else { endpoint(&wish.tuple) };
            let Tuple { inside, inside_port, .. } = wish.tuple;
            wish.nat = Nat { flags: kept, inside, inside_port, endpoint_id, ..Nat::default() };
            // Taken by another flow meanwhile: then this one is answered no more.
            let _ = maps::add_nat(&wish.back, &wish.nat);
        }
    }
    flow.update(|flow| {
        flow.seen = now;
        flow.flags = flags;
        if begins(tcp) && before.flags & FlowFlags::CLOSING != 0 {
            flow.created = now;
        }
    });
}

/// A packet from the outside of a translated flow. Written only when something changed.
#[inline(always)]
pub(crate) fn touch_in(nat: Live<Nat>, before: &Nat, tcp: u8) {
    let now = maps::now();
    let flags = closing(before.flags, tcp, false);
    if before.seen != now || before.flags != flags {
        nat.update(|nat| {
            nat.seen = now;
            nat.flags = flags;
        });
    }
}

/// A packet from the outside of a flow that began at a port of the node.
#[inline(always)]
pub(crate) fn touch_port(nat: Live<Nat>, asked: &Tuple, before: &Nat, tcp: u8) {
    let flags = closing(before.flags, tcp, false) | confirmed(tcp);
    if before.seen != maps::now() || before.flags != flags {
        refresh_port(nat, asked, flags, tcp);
    }
}

/// Once a tick, and whenever something is new of it. The flow is looked at too, so that the kernel does not take it for
/// forgotten, is told what the outside says, and made again if it was.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn refresh_port(nat: Live<Nat>, asked: &Tuple, flags: u32, tcp: u8) {
    let now = maps::now();
    nat.update(|nat| {
        nat.seen = now;
        nat.flags = flags;
    });
    let nat = nat.get();
    let Some(wish) = maps::wish() else { return };
    wish.tuple = *asked;
    (wish.tuple.inside, wish.tuple.inside_port) = (nat.inside, nat.inside_port);
    if let Some(flow) = maps::flow(&wish.tuple) {
        return flow.update(|flow| {
            flow.seen = now;
            flow.flags = closing(flow.flags, tcp, false) | confirmed(tcp);
        });
    }
    wish.flow = Flow {
        seen: now,
        created: now,
        flags: flags | FlowFlags::TRANSLATED,
        nat_addr: asked.inside,
        nat_port: asked.inside_port,
        ..Flow::default()
    };
    // Without room the next tick tries again.
    let _ = maps::add_flow(&wish.tuple, &wish.flow);
}

/// The number of the endpoint that is inside.
#[inline(always)]
fn endpoint(tuple: &Tuple) -> u32 {
    maps::pod(&tuple.inside).map_or(0, |pod| pod.endpoint_id)
}

/// What a packet of the inside says of a flow: that it answers, or what the side that began says.
#[inline(always)]
fn told(flags: u32, tcp: u8) -> u32 {
    if flags & FlowFlags::INBOUND == 0 { confirmed(tcp) } else { FlowFlags::REPLIED }
}

/// What a packet of the side that began the flow says of it: an acknowledgement without SYN comes after the answer.
#[inline(always)]
pub(crate) fn confirmed(tcp: u8) -> u32 {
    if tcp & (Transport::SYN | Transport::ACK) == Transport::ACK { FlowFlags::CONFIRMED } else { 0 }
}

/// Whether the packet asks for a new connection.
#[inline(always)]
pub(crate) fn begins(tcp: u8) -> bool {
    tcp & (Transport::SYN | Transport::ACK) == Transport::SYN
}

#[inline(always)]
fn closing(flags: u32, tcp: u8, outbound: bool) -> u32 {
    if tcp & EVENTFUL == 0 {
        return flags;
    }
    if begins(tcp) {
        // The ports are used anew: what came before has ended.
        return if flags & FlowFlags::CLOSING == 0 {
            flags
        } else {
            flags & !(FlowFlags::CLOSING | FlowFlags::REPLIED | FlowFlags::CONFIRMED)
        };
    }
    let fin = match (tcp & Transport::FIN != 0, outbound) {
        (false, _) => 0,
        (true, true) => FlowFlags::FIN_INSIDE,
        (true, false) => FlowFlags::FIN_OUTSIDE,
    };
    flags | fin | if tcp & Transport::RST != 0 { FlowFlags::RESET } else { 0 }
}
