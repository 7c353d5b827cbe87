//! Neighbour discovery from a pod: about itself only; a question for the gateway is answered here.

use weft_abi::{Addr, GATEWAY_V6, Pod, PodFlags, Reason};

use super::source;
use crate::maps;
use crate::parse::{NeighborMessage, ndp};
use crate::rewrite;
use crate::skb::Skb;

const GATEWAY: Addr = Addr::from_octets(GATEWAY_V6);

/// Hop limit that only a sender on the link can bring about (RFC 4861, section 7.1).
const ON_LINK: u8 = 255;

/// Lets true messages go on to the stack and answers for the gateway.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn judge(skb: &mut Skb, kind: u8) -> Reason {
    examine(skb, kind).unwrap_or_else(|reason| reason)
}

#[inline(always)]
fn examine(skb: &mut Skb, kind: u8) -> Result<Reason, Reason> {
    match kind {
        ndp::NEIGHBOR_SOLICITATION | ndp::NEIGHBOR_ADVERTISEMENT => {}
        ndp::ROUTER_SOLICITATION => return solicit_router(skb.ifindex()),
        // An advertisement or a redirect.
        _ => return Err(Reason::RogueRouter),
    }
    let frame = skb.load_frame::<NeighborMessage>().ok_or(Reason::Malformed)?;
    let message = &frame.body;
    let solicits = kind == ndp::NEIGHBOR_SOLICITATION;
    let speaker = speaker(skb.ifindex(), message, solicits)?;
    let mac = frame.ethernet.src;
    if message.ipv6.hop_limit != ON_LINK
        || message.code != 0
        || speaker.is_some_and(|pod| mac != pod.pod_mac.into())
        || !ndp::link_options_are(skb, message, mac)?
    {
        return Err(Reason::NeighSpoof);
    }
    match speaker {
        Some(pod) if solicits && message.target == GATEWAY && pod.flags & PodFlags::ADOPTED == 0 => {
            rewrite::advertisement(skb, &frame, pod).ok_or(Reason::Malformed)?;
            Ok(Reason::Answered)
        }
        _ => Ok(Reason::Passed),
    }
}

/// The pod that the message speaks for, if it names one by an address of its own; a link-local address could be
/// anybody's on the link, which ends at the node.
#[inline(always)]
fn speaker(ifindex: u32, message: &NeighborMessage, solicits: bool) -> Result<Option<&'static Pod>, Reason> {
    let own = |addr: &Addr| {
        if addr.is_v6_link_local() {
            return if *addr == GATEWAY { Err(Reason::NeighSpoof) } else { Ok(None) };
        }
        source::owner(addr, ifindex).map(Some).ok_or(Reason::NeighSpoof)
    };
    if solicits && message.ipv6.src.is_unspecified() {
        // Duplicate address detection speaks for its target.
        return own(&message.target);
    }
    let speaker = own(&message.ipv6.src)?;
    if !solicits {
        own(&message.target)?;
    }
    Ok(speaker)
}

/// Nobody on a pod's link is a router; behind an adopted interface there may be one.
#[inline(always)]
fn solicit_router(ifindex: u32) -> Result<Reason, Reason> {
    maps::adopted(ifindex).map(|_| Reason::Passed).ok_or(Reason::Multicast)
}
