//! Multicast listener discovery (RFC 3810).

use super::{Ethernet, Ethertype, Ipv6Header, Protocol};
use crate::skb::Skb;

/// Hop-by-hop options right behind the fixed header, which hold the router alert, and the ICMPv6 type behind them.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Alert {
    next_header: u8,
    /// In units of 8 bytes, the first not counted.
    len: u8,
    options: [u8; 6],
    kind: u8,
    code: u8,
}

/// ICMPv6 types of a report (version 1), a done and a report of version 2.
const REPORTS: [u8; 3] = [131, 132, 143];

/// Whether the packet tells what its sender listens to, on this link alone.
#[inline(always)]
pub(crate) fn is_report(skb: &Skb) -> bool {
    const BEHIND: usize = Ethernet::LEN + size_of::<Ipv6Header>();
    if skb.ethertype() != Ethertype::IPV6 {
        return false;
    }
    let (Some(header), Some(alert)) = (skb.load::<Ipv6Header>(Ethernet::LEN), skb.load::<Alert>(BEHIND)) else {
        return false;
    };
    let [v1, done, v2] = REPORTS;
    header.next_header == Protocol::HOP_BY_HOP
        && header.dst.words[0] == 0xff02_0000_u32.to_be()
        && alert.next_header == Protocol::ICMPV6
        && alert.len == 0
        && (alert.kind == v1 || alert.kind == done || alert.kind == v2)
}
