//! One hop less to go.

use weft_abi::Reason;

use super::sum::Sum;
use crate::parse::{Ethernet, Packet};
use crate::skb::Skb;

/// Counts a router down, which must not have been the last.
#[inline(always)]
pub(crate) fn count_down(skb: &mut Skb, packet: &Packet) -> Result<(), Reason> {
    let hops = packet.hops - 1;
    if !packet.v4 {
        skb.bytes::<{ Ethernet::LEN + 8 }>().ok_or(Reason::Malformed)?.set_byte::<{ Ethernet::LEN + 7 }>(hops);
        return Ok(());
    }
    let mut frame = skb.bytes::<{ Ethernet::LEN + 12 }>().ok_or(Reason::Malformed)?;
    let pair = |hops| u16::from_ne_bytes([hops, packet.protocol]);
    let sum = Sum::of(frame.half::<{ Ethernet::LEN + 10 }>()).half(pair(packet.hops), pair(hops));
    frame.set_half::<{ Ethernet::LEN + 10 }>(sum.finish());
    frame.set_byte::<{ Ethernet::LEN + 8 }>(hops);
    Ok(())
}
