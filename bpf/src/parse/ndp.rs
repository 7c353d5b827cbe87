//! IPv6 neighbour discovery (RFC 4861).

use core::cmp::Ordering;

use weft_abi::{Addr, Reason};

use super::{Ethernet, Ipv6Header, Mac};
use crate::skb::Skb;

/// ICMPv6 types of neighbour discovery.
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Where the ICMPv6 message begins, right behind the fixed header.
const MESSAGE: usize = Ethernet::LEN + size_of::<Ipv6Header>();
/// Where a solicitation's or advertisement's options begin.
const OPTIONS: usize = Ethernet::LEN + size_of::<NeighborMessage>();
/// More options than any sender adds: a link-layer address and a nonce are what Linux sends.
const OPTIONS_MAX: usize = 8;

/// A neighbour solicitation or advertisement with its IPv6 header, without its options.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct NeighborMessage {
    pub(crate) ipv6: Ipv6Header,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) checksum: u16,
    pub(crate) flags: u32,
    pub(crate) target: Addr,
}

const _: () = assert!(size_of::<NeighborMessage>() == 64);

/// An option with a link-layer address, or the begin of another one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LinkOption {
    pub(crate) kind: u8,
    /// In units of 8 bytes.
    pub(crate) len: u8,
    pub(crate) mac: Mac,
}

const _: () = assert!(size_of::<LinkOption>() == 8);

impl LinkOption {
    pub(crate) const SOURCE: u8 = 1;
    pub(crate) const TARGET: u8 = 2;
}

/// The type of the neighbour discovery message that an ICMPv6 packet carries, if it does.
#[inline(always)]
pub(crate) fn kind(skb: &Skb) -> Result<Option<u8>, Reason> {
    let kind = skb.load::<u8>(MESSAGE).ok_or(Reason::Malformed)?;
    Ok((ROUTER_SOLICITATION..=REDIRECT).contains(&kind).then_some(kind))
}

/// Whether every link-layer address among the message's options is that MAC.
#[inline(always)]
pub(crate) fn link_options_are(skb: &Skb, message: &NeighborMessage, mac: Mac) -> Result<bool, Reason> {
    let end = MESSAGE + usize::from(u16::from_be(message.ipv6.payload_len));
    let mut offset = OPTIONS;
    for _ in 0..OPTIONS_MAX {
        match offset.cmp(&end) {
            Ordering::Less => {}
            Ordering::Equal => return Ok(true),
            Ordering::Greater => break,
        }
        let option = skb.load::<LinkOption>(offset).ok_or(Reason::Malformed)?;
        if matches!(option.kind, LinkOption::SOURCE | LinkOption::TARGET) && option.mac != mac {
            return Ok(false);
        }
        if option.len == 0 {
            break;
        }
        offset += usize::from(option.len) * 8;
    }
    Err(Reason::Malformed)
}
