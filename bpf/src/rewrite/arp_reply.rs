//! The gateway's answer to an ARP request.

use weft_abi::Pod;

use crate::parse::{Arp, Ethernet, Frame};
use crate::skb::Skb;

/// Turns a request into the reply that names the host end of the pod's veth.
#[inline(always)]
pub(crate) fn arp_reply(skb: &mut Skb, request: &Frame<Arp>, pod: &Pod) -> Option<()> {
    let (dst, src) = (pod.pod_mac.into(), pod.host_mac.into());
    let body = Arp {
        operation: Arp::REPLY,
        sender_mac: src,
        sender: request.body.target,
        target_mac: dst,
        target: request.body.sender,
        ..request.body
    };
    skb.replace(&Frame::new(Ethernet { dst, src, ..request.ethernet }, body))
}
