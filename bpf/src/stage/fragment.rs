//! Fragments: the first one has the ports, the others are told by it.

use weft_abi::{Fragment, PARKED_FRAME_MAX, Parked, Ports};

use crate::maps;
use crate::parse::{Packet, Piece, Transport};
use crate::skb::Skb;

/// Remembers the ports of a first fragment and gives them to a later one; false if a later one's are not known.
#[inline(always)]
pub(crate) fn complete(packet: &Packet, transport: &mut Transport) -> bool {
    transport.piece == Piece::Whole || look_up(packet, transport)
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn look_up(packet: &Packet, transport: &mut Transport) -> bool {
    let key = key(packet, transport);
    if transport.piece == Piece::First {
        maps::remember(&key, Ports { src: transport.src, dst: transport.dst });
        return true;
    }
    let Some(ports) = maps::ports(&key) else { return false };
    (transport.src, transport.dst) = (ports.src, ports.dst);
    true
}

/// Leaves a copy of a fragment that came before the first one to the agent, which sends it again when the first one has
/// told whose it is.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn park(skb: &Skb, packet: &Packet, transport: &Transport) {
    let len = skb.len();
    if len > PARKED_FRAME_MAX as u32 {
        return;
    }
    maps::park(|parked: &mut Parked| {
        parked.key = key(packet, transport);
        parked.ktime_ns = maps::ktime();
        parked.ifindex = skb.ifindex();
        parked.len = len;
        skb.copy(len, &mut parked.frame)
    });
}

#[inline(always)]
fn key(packet: &Packet, transport: &Transport) -> Fragment {
    Fragment { src: packet.src, dst: packet.dst, id: transport.id, protocol: transport.protocol, pad: [0; 3] }
}
