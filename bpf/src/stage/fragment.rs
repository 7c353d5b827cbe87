//! Fragments: the first one has the ports, the others are told by it.

use weft_abi::{Fragment, Ports};

use crate::maps;
use crate::parse::{Packet, Piece, Transport};

/// Remembers the ports of a first fragment and gives them to a later one; false if a later one's are not known.
#[inline(always)]
pub(crate) fn complete(packet: &Packet, transport: &mut Transport) -> bool {
    transport.piece == Piece::Whole || look_up(packet, transport)
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn look_up(packet: &Packet, transport: &mut Transport) -> bool {
    let key =
        Fragment { src: packet.src, dst: packet.dst, id: transport.id, protocol: transport.protocol, pad: [0; 3] };
    if transport.piece == Piece::First {
        maps::remember(&key, Ports { src: transport.src, dst: transport.dst });
        return true;
    }
    let Some(ports) = maps::ports(&key) else { return false };
    (transport.src, transport.dst) = (ports.src, ports.dst);
    true
}
