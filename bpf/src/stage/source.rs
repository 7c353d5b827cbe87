//! A pod speaks for itself: by its own addresses, with its own MAC.

use weft_abi::{Addr, Pod, Reason};

use crate::maps;
use crate::parse::Packet;

/// Whether the pod made the packet, as far as its MAC tells.
#[inline(always)]
pub(crate) fn check(packet: &Packet, sender: &Pod) -> Result<(), Reason> {
    if packet.src_mac == sender.mac_words() { Ok(()) } else { Err(Reason::SourceMac) }
}

/// The pod behind that interface, if the address is one of its own.
#[inline(always)]
pub(crate) fn owner(addr: &Addr, ifindex: u32) -> Option<&'static Pod> {
    maps::pod(addr).filter(|pod| pod.ifindex == ifindex)
}
