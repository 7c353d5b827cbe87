//! ARP from a pod: about itself only; a question for the gateway is answered here.

use weft_abi::{Addr, GATEWAY_V4, PodFlags, Reason};

use super::source;
use crate::parse::Arp;
use crate::rewrite;
use crate::skb::Skb;

/// The gateway's address as it lies in memory.
const GATEWAY: u32 = u32::from_ne_bytes(GATEWAY_V4);

/// Lets true messages go on to the stack and answers for the gateway.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn judge(skb: &mut Skb) -> Reason {
    examine(skb).unwrap_or_else(|reason| reason)
}

#[inline(always)]
fn examine(skb: &mut Skb) -> Result<Reason, Reason> {
    let frame = skb.load_frame::<Arp>().ok_or(Reason::Malformed)?;
    let message = &frame.body;
    if !message.is_ethernet_ipv4() {
        return Err(Reason::Malformed);
    }
    // A probe (RFC 5227) names no sender: it speaks for its target.
    let spoken_for = if message.sender.word() == 0 { message.target } else { message.sender };
    let pod = source::owner(&Addr::from_v4_word(spoken_for.word()), skb.ifindex()).ok_or(Reason::NeighSpoof)?;
    let own_mac = pod.pod_mac.into();
    if frame.ethernet.src != own_mac || message.sender_mac != own_mac {
        return Err(Reason::NeighSpoof);
    }
    let for_gateway = message.operation == Arp::REQUEST && message.target.word() == GATEWAY;
    if !for_gateway || pod.flags & PodFlags::ADOPTED != 0 {
        return Ok(Reason::Passed);
    }
    rewrite::arp_reply(skb, &frame, pod).ok_or(Reason::Malformed)?;
    Ok(Reason::Answered)
}
