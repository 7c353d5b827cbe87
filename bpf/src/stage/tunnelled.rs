//! From another node through the overlay.

use weft_abi::{PeerFlags, Reason};

use crate::parse::{self, Packet, Protocol, Transport};
use crate::skb::Skb;
use crate::{config, maps};

/// Whether the packet is the outer one of the overlay's: most of what passes an uplink, and the node's own.
#[inline(always)]
pub(crate) fn is_outer(skb: &mut Skb, packet: &Packet) -> bool {
    config::has_overlay() && parse::datagram_port(skb, packet).is_some_and(config::is_overlay_port)
}

/// Whether that is the transport header of such a packet.
#[inline(always)]
pub(crate) fn is_outer_transport(transport: &Transport) -> bool {
    transport.protocol == Protocol::UDP && config::is_overlay_port(transport.dst)
}

/// Only a peer may send tunnel packets, in its own network, and only for those who live there.
#[inline(always)]
pub(crate) fn check(skb: &Skb, packet: &Packet) -> Result<(), Reason> {
    let (node, vni) = skb.tunnel().ok_or(Reason::UnknownPeer)?;
    let home = maps::peer(&packet.src);
    match home {
        Some(peer) if peer.device != 0 && peer.node == node && peer.vni == vni => Ok(()),
        Some(peer) if peer.vni != vni && peer.node == node => Err(Reason::UnknownPeer),
        _ if maps::peer(&node).is_some_and(|peer| peer.flags & PeerFlags::NODE != 0) => Err(Reason::PeerSource),
        _ => Err(Reason::UnknownPeer),
    }
}
