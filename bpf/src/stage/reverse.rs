//! From the world to a node's address: the way back of a flow that was translated.

use weft_abi::{FlowFlags, Reason};

use super::{about, age, deliver, fragment, tunnelled};
use crate::maps;
use crate::parse::{self, Kind, Packet};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

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
    if tunnelled::is_outer_transport(&transport) {
        return host;
    }
    if transport.kind == Kind::Error {
        return about::inbound(skb, packet, &transport);
    }
    let Some(live) = maps::nat(&transport.inbound(packet)) else { return host };
    let nat = live.get();
    age::touch_in(live, &nat, transport.flags);
    if nat.flags & (FlowFlags::HOST | FlowFlags::VIA_STACK) != 0 {
        rewrite::translate(skb, packet, &transport, End::Destination, &nat.inside, nat.inside_port)?;
        return Ok(Verdict::Sent(Reason::Translated, NEXT));
    }
    let pod = maps::pod(&nat.inside).ok_or(Reason::NoSuchPod)?;
    rewrite::translate(skb, packet, &transport, End::Destination, &nat.inside, nat.inside_port)?;
    deliver::translated(skb, pod)
}
