//! Broadcast and multicast stay with the pod that sends them.

use weft_abi::{Pod, PodFlags, Reason};

use crate::parse::Packet;

/// Stops what is meant for many, unless another plugin's link layer carries it.
#[inline(always)]
pub(crate) fn check(packet: &Packet, sender: &Pod) -> Result<(), Reason> {
    if packet.multicast && sender.flags & PodFlags::ADOPTED == 0 { Err(Reason::Multicast) } else { Ok(()) }
}
