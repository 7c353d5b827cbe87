//! Another source or destination.

use weft_abi::{Addr, Reason};

use super::sum::Sum;
use crate::parse::{Ethernet, Packet, Transport};
use crate::skb::Skb;

/// Which end of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// Gives one end of a packet another address and port; a port that cannot be rewritten stays.
#[inline(always)]
pub(crate) fn translate(
    skb: &mut Skb,
    packet: &Packet,
    transport: &Transport,
    end: End,
    addr: &Addr,
    port: u16,
) -> Result<(), Reason> {
    let source = end == End::Source;
    let (old, old_port) = if source { (&packet.src, transport.src) } else { (&packet.dst, transport.dst) };
    if port != old_port
        && let Some(offset) = transport.port_offset(source)
    {
        skb.replace_half(offset, transport.checksum(packet.v4, false), old_port, port)?;
    }
    let pseudo = transport.checksum(packet.v4, true);
    if !packet.v4 {
        let offset = if source { Ethernet::LEN + 8 } else { Ethernet::LEN + 24 };
        return skb.replace_v6(offset as u32, pseudo, old, addr);
    }
    let (old, new) = (old.words[3], addr.words[3]);
    if let Some(checksum) = pseudo {
        skb.fix_pseudo_v4(checksum, old, new)?;
    }
    let mut frame = skb.bytes::<{ Ethernet::LEN + 20 }>().ok_or(Reason::Malformed)?;
    let sum = Sum::of(frame.half::<{ Ethernet::LEN + 10 }>()).word(old, new);
    frame.set_half::<{ Ethernet::LEN + 10 }>(sum.finish());
    if source {
        frame.set_word::<{ Ethernet::LEN + 12 }>(new);
    } else {
        frame.set_word::<{ Ethernet::LEN + 16 }>(new);
    }
    Ok(())
}
