//! Packets from an address that is no pod's: the business of a link, or a lie.

use weft_abi::Reason;

use crate::maps;
use crate::parse::{Packet, mld};
use crate::skb::Skb;

/// Lets multicast reports go to the node's stack, where they end, and from an adopted interface all that its link
/// layer needs: router solicitations, reports, DHCP.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn judge(skb: &Skb, packet: &Packet) -> Reason {
    let for_link = packet.src.is_v6_link_local() || packet.src.is_unspecified();
    if !packet.multicast || !for_link {
        return Reason::SourceAddr;
    }
    match maps::adopted(skb.ifindex()) {
        Some(pod) if packet.src_mac != pod.mac_words() => Reason::SourceMac,
        Some(_) => Reason::Passed,
        // Every pod with IPv6 sends them when its interface comes up.
        None if mld::is_report(skb) => Reason::Passed,
        None => Reason::Multicast,
    }
}
