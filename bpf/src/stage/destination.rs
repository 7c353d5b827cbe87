//! What the node sends to a pod is for that pod.

use weft_abi::{Pod, Reason};

use super::source;
use crate::parse::Packet;

/// The pod that it is for; stops what is meant for many or for somebody else.
#[inline(always)]
pub(crate) fn check(packet: &Packet, ifindex: u32) -> Result<&'static Pod, Reason> {
    if packet.multicast {
        return Err(Reason::Multicast);
    }
    source::owner(&packet.dst, ifindex).ok_or(Reason::NotForPod)
}
