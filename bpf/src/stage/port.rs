//! A port for a flow on the node's address: its own if it is free, else any that is.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{Flow, FlowFlags, Nat, Reason, Target, Tuple};

use crate::maps::{self, Live, Wish};
use crate::parse::Protocol;
use crate::skb::Skb;

/// Ports that are tried before a flow is refused. With nine ports of ten taken towards one destination, one flow of
/// thirty is.
const TRIES: usize = 32;

/// Ports that are handed out in place of a flow's own: those that need no privilege.
const FIRST: u16 = 1024;

/// `EEXIST`, as helpers return it.
const EXISTS: i32 = -17;

/// Finds a port and records the flow and its way back: what it became, or why not.
#[inline(always)]
pub(crate) fn assign(skb: &mut Skb, ask: impl FnOnce(&mut Wish)) -> Result<&'static Flow, Reason> {
    let wish = maps::wish().ok_or(Reason::FlowTable)?;
    ask(wish);
    match skb.call(assign_port) {
        ASSIGNED => Ok(&wish.flow),
        EXHAUSTED => Err(Reason::NatExhausted),
        _ => Err(Reason::FlowTable),
    }
}

const ASSIGNED: u32 = 0;
const EXHAUSTED: u32 = 1;
const REFUSED: u32 = 2;

/// Whether a packet's port can be given another number: SCTP's checksum covers its ports and the whole packet.
#[inline(always)]
pub(crate) fn can_change(protocol: u8) -> bool {
    matches!(protocol, Protocol::TCP | Protocol::UDP)
}

/// Verified once and by itself (a global function to the kernel), because it is called from many states; therefore it
/// takes what it needs from a place of this processor's.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn assign_port(ctx: *mut __sk_buff) -> u32 {
    let Some(wish) = maps::wish() else { return REFUSED };
    search(&mut Skb::of(ctx), wish)
}

#[inline(always)]
fn search(skb: &mut Skb, wish: &mut Wish) -> u32 {
    let Tuple { inside, inside_port, .. } = wish.tuple;
    wish.nat = Nat { flags: wish.flow.flags, inside, inside_port, ..Nat::default() };
    wish.back = wish.tuple;
    wish.back.inside = wish.flow.nat_addr;
    let mut outcome = EXHAUSTED;
    for attempt in 0..TRIES {
        if attempt > 0 {
            if wish.fixed != 0 {
                break;
            }
            wish.back.inside_port = any();
        }
        outcome = skb.call(claim_port);
        if outcome == ASSIGNED {
            return record(wish);
        }
    }
    if outcome == EXHAUSTED {
        let Tuple { outside, outside_port, protocol, .. } = wish.tuple;
        wish.target = Target { addr: outside, port: outside_port, protocol, pad: 0 };
        maps::count_full(&wish.target);
    }
    outcome
}

/// Records the way back, unless the port is somebody's.
///
/// Global like [`assign_port`]: the verifier would follow its body once a try.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn claim_port(ctx: *mut __sk_buff) -> u32 {
    let Some(wish) = maps::wish() else { return REFUSED };
    claim(&Skb::of(ctx), wish)
}

#[inline(always)]
fn claim(skb: &Skb, wish: &Wish) -> u32 {
    let Wish { tuple, flow, back, nat, .. } = wish;
    // The node's own flow has its socket on its own port, and looks for another one.
    if flow.flags & FlowFlags::HOST != 0 && back.inside_port == tuple.inside_port || skb.is_taken(back) {
        return EXHAUSTED;
    }
    match maps::add_nat(back, nat) {
        Ok(()) => ASSIGNED,
        Err(EXISTS) => match maps::nat(back).map(Live::get) {
            // Its own, whose other half was forgotten.
            Some(found) if found.inside == tuple.inside && found.inside_port == tuple.inside_port => ASSIGNED,
            _ => EXHAUSTED,
        },
        Err(_) => REFUSED,
    }
}

/// Records the flow; if another processor was faster, what it chose holds.
#[inline(always)]
fn record(wish: &mut Wish) -> u32 {
    let now = maps::now();
    wish.flow.seen = now;
    wish.flow.created = now;
    wish.flow.flags |= FlowFlags::TRANSLATED;
    wish.flow.nat_port = wish.back.inside_port;
    let found = match maps::add_flow(&wish.tuple, &wish.flow) {
        Ok(()) => return ASSIGNED,
        Err(EXISTS) => maps::flow(&wish.tuple).map(Live::get),
        Err(_) => None,
    };
    if !found.is_some_and(|found| found.nat_port == wish.flow.nat_port && found.nat_addr == wish.flow.nat_addr) {
        maps::remove_nat(&wish.back);
    }
    let Some(found) = found else { return REFUSED };
    wish.flow = found;
    ASSIGNED
}

/// A port, in network byte order.
#[inline(always)]
fn any() -> u16 {
    let room = u64::from(u16::MAX - FIRST) + 1;
    (FIRST + ((u64::from(maps::random()) * room) >> 32) as u16).to_be()
}
