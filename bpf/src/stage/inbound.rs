//! From another machine to a pod's own address.

use weft_abi::{FlowFlags, PeerFlags, Pod, PodFlags, Reason};

use super::{age, deliver, track};
use crate::maps;
use crate::parse::{Packet, Transport};
use crate::skb::Skb;
use crate::verdict::Verdict;

/// Delivers the packet. The flow of somebody who is no peer's pod is recorded, so that the answers keep their source.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet, pod: &Pod) -> Result<Verdict, Reason> {
    if pod.flags & PodFlags::ADOPTED != 0 {
        // The plugin that made it routes and filters what comes from elsewhere.
        return Ok(Verdict::Pass);
    }
    match maps::peer(&packet.src) {
        Some(peer) if peer.flags & (PeerFlags::NODE | PeerFlags::STACK) == 0 => {
            // Pods of this node, and those behind the overlay, do not come this way.
            if peer.device != 0 || peer.flags & PeerFlags::LOCAL != 0 {
                return Err(Reason::PeerSource);
            }
        }
        _ => record(skb, packet),
    }
    if track::is_via_stack(skb, packet, pod) {
        return Ok(Verdict::Pass);
    }
    deliver::deliver(skb, pod)
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn record(skb: &mut Skb, packet: &Packet) {
    let Some((tuple, tcp)) = track::read(skb, packet, false) else { return };
    match maps::flow(&tuple) {
        Some(flow) => age::touch(flow, tcp, false),
        // What tears down a flow that is not known begins none.
        None if tcp & Transport::RST != 0 => {}
        None => track::add(&tuple, FlowFlags::INBOUND | age::confirmed(tcp), skb.ifindex()),
    }
}
