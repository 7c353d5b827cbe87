//! Addresses as numbers, so that one arithmetic serves both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_cni::api::IpRange;

/// Numbers from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u128,
    pub(super) high: u128,
}

impl Span {
    pub(super) fn contains(self, number: u128) -> bool {
        (self.low..=self.high).contains(&number)
    }

    /// What both have in common.
    pub(super) fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }
}

impl From<IpNet> for Span {
    fn from(net: IpNet) -> Self {
        // The last address of the range in both families, whatever ipnet calls it.
        Self { low: number(net.network()), high: number(net.broadcast()) }
    }
}

impl From<IpRange> for Span {
    fn from(range: IpRange) -> Self {
        Self { low: number(range.start), high: number(range.end) }
    }
}

/// The address as a number of its own family.
pub(super) fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of that number, in the family of `like`.
pub(super) fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        // A span of IPv4 addresses ends below 2^32.
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}
