//! What the node sends to a pod is for that pod.

use weft_abi::Reason;

use super::source;
use crate::parse::Packet;

/// Stops what is meant for many or for somebody else.
#[inline(always)]
pub(crate) fn check(packet: &Packet, ifindex: u32) -> Result<(), Reason> {
    if packet.multicast {
        return Err(Reason::Multicast);
    }
    source::owner(&packet.dst, ifindex).map(|_| ()).ok_or(Reason::NotForPod)
}
