//! The transport header, where there is no room for it on the stack.

use super::fragment;
use crate::parse::{self, Packet, Transport};
use crate::skb::Skb;

/// Reads the header with the ports of a fragment; false if they are not known.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn read(skb: &mut Skb, packet: &Packet, out: &mut Transport) -> bool {
    let Ok(mut transport) = parse::transport(skb, packet) else { return false };
    let complete = fragment::complete(packet, &mut transport);
    *out = transport;
    complete
}
