//! Into a pod of this node.

use weft_abi::{Pod, Reason};

use super::shape;
use crate::maps;
use crate::parse::{Ethernet, Packet};
use crate::rewrite;
use crate::skb::Skb;
use crate::verdict::Verdict;

/// The pod with the destination address, if there is one.
#[inline(always)]
pub(crate) fn receiver(packet: &Packet) -> Option<&'static Pod> {
    if packet.multicast { None } else { maps::pod(&packet.dst) }
}

/// Puts the frame on the way to the pod: into it, or into the queue before it.
#[inline(always)]
pub(crate) fn deliver(skb: &mut Skb, pod: &Pod) -> Result<Verdict, Reason> {
    if let Some(queued) = shape::to_pod(skb, pod) {
        return Ok(queued);
    }
    rewrite::towards(pod, &mut skb.bytes::<{ Ethernet::LEN }>().ok_or(Reason::Malformed)?);
    Ok(Verdict::Deliver(pod.ifindex))
}

/// The same for a packet that got the pod's address back.
#[inline(always)]
pub(crate) fn translated(skb: &mut Skb, pod: &Pod) -> Result<Verdict, Reason> {
    match deliver(skb, pod)? {
        Verdict::Deliver(ifindex) => Ok(Verdict::Sent(Reason::Translated, skb.redirect_peer(ifindex))),
        queued => Ok(queued),
    }
}
