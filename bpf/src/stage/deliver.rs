//! Into a pod of this node, or on to its stack.

use weft_abi::Reason;

use crate::maps;
use crate::parse::{Ethernet, Packet};
use crate::rewrite;
use crate::skb::Skb;
use crate::verdict::Verdict;

/// Puts the frame on the way to the pod with the destination address, if there is one.
#[inline(always)]
pub(crate) fn judge(skb: &mut Skb, packet: &Packet) -> Result<Verdict, Reason> {
    if packet.multicast {
        return Ok(Verdict::Pass);
    }
    let Some(receiver) = maps::pod(&packet.dst) else { return Ok(Verdict::Pass) };
    rewrite::towards(receiver, &mut skb.bytes::<{ Ethernet::LEN }>().ok_or(Reason::Malformed)?);
    Ok(Verdict::Deliver(receiver.ifindex))
}
