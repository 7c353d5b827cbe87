//! The record of a drop: what the packet said of itself, true or not.

use weft_abi::{Addr, Direction, Reason};

use crate::maps;
use crate::parse::{Arp, Ethernet, Ethertype, Ipv6Header};
use crate::skb::Skb;

/// Records the packet as far as it can be read.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
pub(crate) fn record(skb: &Skb, reason: Reason, direction: Direction) {
    maps::record(|event| {
        event.reason = reason as u32;
        event.direction = direction as u32;
        event.ifindex = skb.ifindex();
        event.len = skb.len();
        let ethertype = skb.ethertype();
        event.ethertype = ethertype;
        if let Some(Ethernet { dst, src, .. }) = skb.load(0) {
            (event.src_mac, event.dst_mac) = (src.into(), dst.into());
        }
        match ethertype {
            Ethertype::IPV4 => {
                if let Some([src, dst]) = skb.load::<[u32; 2]>(Ethernet::LEN + 12) {
                    (event.src, event.dst) = (Addr::from_v4_word(src), Addr::from_v4_word(dst));
                    event.protocol = skb.load(Ethernet::LEN + 9).unwrap_or_default();
                }
            }
            Ethertype::IPV6 => {
                if let Some(Ipv6Header { src, dst, next_header, .. }) = skb.load(Ethernet::LEN) {
                    (event.src, event.dst) = (src, dst);
                    event.protocol = next_header;
                }
            }
            Ethertype::ARP => {
                if let Some(Arp { sender, target, .. }) = skb.load(Ethernet::LEN) {
                    (event.src, event.dst) = (Addr::from_v4_word(sender.word()), Addr::from_v4_word(target.word()));
                }
            }
            _ => {}
        }
    });
}
