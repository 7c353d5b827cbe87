//! Another source or destination in the packet that an ICMP error quotes.

use weft_abi::{Addr, Reason};

use super::End;
use super::sum::Sum;
use crate::parse::{Kind, Packet, Protocol, Quoted, Transport};
use crate::skb::{Checksum, Skb};

/// Gives one end of the quoted packet another address and port, with its checksums where they are quoted, so that
/// whoever sent it finds it as it left.
#[inline(always)]
pub(crate) fn translate(
    skb: &mut Skb,
    packet: &Packet,
    error: &Transport,
    quoted: &Quoted,
    end: End,
    addr: &Addr,
    port: u16,
) -> Result<(), Reason> {
    // The error's own checksum follows every change of what it quotes.
    let outer = Checksum { offset: error.offset + 2, optional: false };
    let source = end == End::Source;
    let (old, old_port) = if source { (&quoted.src, quoted.src_port) } else { (&quoted.dst, quoted.dst_port) };
    let checksum = match quoted.protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP => Some(6),
        Protocol::ICMP | Protocol::ICMPV6 => Some(2),
        _ => None,
    };
    let rewritable = matches!(quoted.kind, Kind::Ports | Kind::Echo) && port != old_port;
    if let Some(at) = checksum
        && let Some(found) = skb.load::<u16>((quoted.transport + at) as usize)
        && !(packet.v4 && quoted.protocol == Protocol::UDP && found == 0)
    {
        let mut sum = Sum::of(found);
        if quoted.protocol != Protocol::ICMP {
            for (old, new) in old.words.iter().zip(addr.words.iter()) {
                sum = sum.word(*old, *new);
            }
        }
        if rewritable {
            sum = sum.half(old_port, port);
        }
        skb.replace_half(quoted.transport + at, Some(outer), found, sum.finish())?;
    }
    if rewritable {
        let at = match quoted.kind {
            Kind::Echo => 4,
            _ if source => 0,
            _ => 2,
        };
        skb.replace_half(quoted.transport + at, Some(outer), old_port, port)?;
    }
    if packet.v4 {
        let (at, old, new) = (quoted.header + 10, old.words[3], addr.words[3]);
        let found = skb.load::<u16>(at as usize).ok_or(Reason::Malformed)?;
        let place = quoted.header + if source { 12 } else { 16 };
        // Address and header checksum change by opposite amounts: the error's checksum does not notice.
        skb.store(at, &Sum::of(found).word(old, new).finish())?;
        return skb.store(place, &new);
    }
    let place = quoted.header + if source { 8 } else { 24 };
    skb.fix_payload(outer, old, addr)?;
    skb.store(place, &addr.words)
}
