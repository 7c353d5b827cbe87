//! From a pod to somebody who is not on this node: through the overlay, by the node's routes, or to its stack.

use weft_abi::{Addr, Peer, PeerFlags, Reason};

use super::{size, track, tunnelled};
use crate::parse::{self, Packet, Protocol};
use crate::rewrite;
use crate::skb::{Hop, Mark, Skb};
use crate::verdict::Verdict;
use crate::{config, maps};

/// Sends the packet on its way; what no way is known for, the stack sees to.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet) -> Result<Verdict, Reason> {
    const APART: u32 = PeerFlags::LOCAL | PeerFlags::NODE | PeerFlags::STACK;
    match maps::peer(&packet.dst) {
        Some(peer) if peer.flags & APART == 0 && peer.device != 0 => Ok(tunnel(skb, packet, peer)),
        Some(peer) if peer.flags & APART == 0 => route(skb, packet, Mark::DONE),
        // A pod of ours that is gone: the stack knows what to answer.
        Some(peer) if peer.flags & PeerFlags::LOCAL != 0 => Ok(Verdict::Pass),
        other => {
            // UDP may stand behind extension headers, but not behind these two.
            let harmless = matches!(packet.protocol, Protocol::TCP | Protocol::ICMPV6);
            if config::has_overlay() && !harmless && is_tunnel(skb, packet) {
                return Err(Reason::TunnelSpoof);
            }
            match other {
                // A service, perhaps: what the stack has translated returns through it. Somebody with the address of a
                // service may ask pods too, past the stack, to which the answers would belong to nothing.
                Some(peer) if peer.flags & PeerFlags::STACK != 0 && !track::is_answer(skb, packet) => Ok(Verdict::Pass),
                _ => route(skb, packet, Mark::POD),
            }
        }
    }
}

/// The other node whose pod the packet is for, if the overlay leads there and the packet fits.
#[inline(always)]
pub(crate) fn tunnel_for(skb: &Skb, packet: &Packet) -> Option<&'static Peer> {
    let peer = if config::has_overlay() { maps::peer(&packet.dst) } else { None };
    peer.filter(|peer| peer.flags & PeerFlags::NODE == 0 && peer.device != 0 && size::segment(skb, packet) <= peer.mtu)
}

/// Through the overlay, if the packet fits.
#[inline(always)]
pub(crate) fn tunnel(skb: &mut Skb, packet: &Packet, peer: &Peer) -> Verdict {
    if size::segment(skb, packet) > peer.mtu || !skb.set_tunnel(&peer.node, peer.vni) {
        // Too big: the stack answers so, by the route of the range.
        return Verdict::Pass;
    }
    skb.set_mark(Mark::DONE);
    Verdict::Sent(Reason::Tunnelled, Skb::send_by(peer.device))
}

/// By the node's routes, if they lead out of an uplink and the packet fits.
#[inline(always)]
fn route(skb: &mut Skb, packet: &Packet, mark: Mark) -> Result<Verdict, Reason> {
    if !config::host_routing() {
        return Ok(Verdict::Pass);
    }
    let Some(hop) = hop(skb, packet, &packet.src) else { return Ok(Verdict::Pass) };
    rewrite::count_down(skb, packet)?;
    skb.set_mark(mark);
    Ok(Verdict::Sent(Reason::Routed, Skb::send_to(&hop)))
}

/// Where the node's routes lead a packet from that address, if out of an uplink, and if the packet fits.
#[inline(always)]
pub(crate) fn hop(skb: &Skb, packet: &Packet, src: &Addr) -> Option<Hop> {
    // At its last hop it is the stack that says so.
    if packet.hops <= 1 {
        return None;
    }
    skb.route(packet, src, size::segment(skb, packet)).filter(|hop| maps::uplink(hop.ifindex).is_some())
}

/// No pod speaks to other nodes in the overlay's name: what the node translates would pass for its own.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn is_tunnel(skb: &mut Skb, packet: &Packet) -> bool {
    parse::transport(skb, packet).is_ok_and(|transport| tunnelled::is_outer_transport(&transport))
}
