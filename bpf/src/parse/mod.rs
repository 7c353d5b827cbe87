//! Bytes to packet: lengths are checked here, once.

mod arp;
mod ethernet;
mod ipv4;
mod ipv6;
pub(crate) mod mld;
pub(crate) mod ndp;
mod packet;
mod quoted;
mod transport;

pub(crate) use arp::Arp;
pub(crate) use ethernet::{Ethernet, Ethertype, Frame, Mac};
pub(crate) use ipv4::{Ipv4Header, ipv4};
pub(crate) use ipv6::{Ipv6Header, ipv6};
pub(crate) use ndp::{LinkOption, NeighborMessage};
pub(crate) use packet::{Packet, Protocol};
pub(crate) use quoted::{Quoted, quoted};
pub(crate) use transport::{Kind, Piece, Transport, datagram_port, ports_of, transport};

use weft_abi::Reason;

use crate::skb::Skb;

/// The IP packet in the frame; `None` if it carries something else.
#[inline(always)]
pub(crate) fn ip(skb: &mut Skb) -> Option<Result<Packet, Reason>> {
    match skb.ethertype() {
        Ethertype::IPV4 => Some(ipv4(skb)),
        Ethertype::IPV6 => Some(ipv6(skb)),
        _ => None,
    }
}
