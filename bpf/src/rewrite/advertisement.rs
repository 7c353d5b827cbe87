//! The gateway's answer to a neighbour solicitation (RFC 4861, section 4.4).

use weft_abi::Pod;

use crate::parse::{Ethernet, Frame, Ipv6Header, LinkOption, NeighborMessage, Protocol, ndp};
use crate::skb::Skb;

/// A neighbour advertisement with the target's link-layer address.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Advertisement {
    message: NeighborMessage,
    option: LinkOption,
}

/// Bytes of the ICMPv6 message.
const LENGTH: u16 = (size_of::<Advertisement>() - size_of::<Ipv6Header>()) as u16;

/// Router, solicited, override.
const FLAGS: u32 = 0xe000_0000;

/// Turns a solicitation for the gateway into the advertisement that names the host end of the pod's veth.
#[inline(always)]
pub(crate) fn advertisement(skb: &mut Skb, request: &Frame<NeighborMessage>, pod: &Pod) -> Option<()> {
    let (dst, src) = (pod.pod_mac.into(), pod.host_mac.into());
    let NeighborMessage { ipv6, target, .. } = request.body;
    let ipv6 = Ipv6Header { payload_len: LENGTH.to_be(), src: target, dst: ipv6.src, ..ipv6 };
    let kind = ndp::NEIGHBOR_ADVERTISEMENT;
    let mut message = NeighborMessage { ipv6, kind, code: 0, checksum: 0, flags: FLAGS.to_be(), target };
    message.checksum = checksum(&message, pod.host_mac);
    let option = LinkOption { kind: LinkOption::TARGET, len: 1, mac: src };
    skb.replace(&Frame::new(Ethernet { dst, src, ..request.ethernet }, Advertisement { message, option }))
}

/// The ICMPv6 checksum with its pseudo-header (RFC 8200, section 8.1), as it lies in memory: the sum of 16-bit words
/// comes out right in either byte order.
#[inline(always)]
fn checksum(message: &NeighborMessage, [a, b, c, d, e, f]: [u8; 6]) -> u16 {
    let NeighborMessage { ipv6, kind, code, flags, target, .. } = *message;
    let mut sum = u32::from(LENGTH.to_be()) + u32::from(u16::from(Protocol::ICMPV6).to_be());
    for pair in [[kind, code], [LinkOption::TARGET, 1], [a, b], [c, d], [e, f]] {
        sum += u32::from(u16::from_ne_bytes(pair));
    }
    let halves = |word: u32| (word & 0xffff) + (word >> 16);
    for [w, x, y, z] in [ipv6.src.words, ipv6.dst.words, target.words, [flags, 0, 0, 0]] {
        sum += halves(w) + halves(x) + halves(y) + halves(z);
    }
    // What is above 16 bits comes back in at the bottom, and the carry of that once more.
    sum = halves(sum);
    !(halves(sum) as u16)
}
