//! All pools together: a request is granted whole or not at all.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use weft_cni::api::{IpRange, PoolStatus};

use super::pool::{Pool, Refusal};
use super::range::Span;

/// Which addresses a pod wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    /// Exactly these.
    pub(crate) ips: &'a [IpAddr],
    /// One out of each set; when empty, one of each family that `ips` does not name.
    pub(crate) ranges: &'a [Vec<IpRange>],
}

/// Addresses cannot be leased as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IpamError {
    #[error("address {addr} is outside the pod ranges ({}): ask for one inside", list(pools))]
    Outside { addr: IpAddr, pools: Vec<IpNet> },
    #[error("address {addr} is {what}: ask for another")]
    Reserved { addr: IpAddr, what: &'static str },
    #[error("address {addr} is leased already")]
    InUse { addr: IpAddr },
    #[error("address {addr} is asked for twice: name it once")]
    Duplicate { addr: IpAddr },
    #[error("address {addr} is in none of the range sets asked for: widen a range or drop the address")]
    NotInRanges { addr: IpAddr },
    #[error("range {}-{} is not a range of one family, first address first", range.start, range.end)]
    Malformed { range: IpRange },
    #[error("range {}-{} is outside the pod ranges ({}): ask for one inside", range.start, range.end, list(pools))]
    RangeOutside { range: IpRange, pools: Vec<IpNet> },
    #[error("no address left in {}: remove pods or give the agent another --pod-cidr", list(pools))]
    Exhausted { pools: Vec<IpNet> },
    #[error("no address left in the range set {}: remove pods or widen a range", list_ranges(set))]
    RangesExhausted { set: Vec<IpRange> },
    #[error("this node has no pod range yet")]
    NoRange,
}

#[derive(Debug)]
pub(crate) struct Pools {
    pub(super) pools: Vec<Pool>,
    pub(super) foreign: Vec<IpAddr>,
}

impl Pools {
    /// A pool for each of these ranges, which do not overlap.
    pub(crate) fn new(cidrs: &[IpNet]) -> Self {
        Self { pools: cidrs.iter().copied().map(Pool::new).collect(), foreign: Vec::new() }
    }

    /// Names the node's own addresses, which no pod gets.
    pub(crate) fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        self.pools.iter_mut().for_each(|pool| pool.set_node_addresses(addresses));
    }

    /// Begins the next search behind an address that was leased last, before a restart.
    pub(crate) fn resume_after(&mut self, addr: IpAddr) {
        self.pool_of(addr).into_iter().for_each(|pool| pool.resume_after(addr));
    }

    /// Addresses for a pod, IPv4 first. `now` is any clock that never goes backwards.
    pub(crate) fn lease(&mut self, request: Request<'_>, now: Duration) -> Result<Vec<IpAddr>, IpamError> {
        if self.pools.is_empty() {
            return Err(IpamError::NoRange);
        }
        let mut granted = Vec::new();
        match self.grant(request, now, &mut granted) {
            Ok(()) => {
                granted.sort_by_key(IpAddr::is_ipv6);
                Ok(granted)
            }
            Err(error) => {
                self.cancel(&granted);
                Err(error)
            }
        }
    }

    /// Takes an address out of its pool that someone else chose; one outside every pool is nothing to us.
    pub(crate) fn hold(&mut self, addr: IpAddr) -> Result<(), IpamError> {
        match self.pool_of(addr) {
            Some(pool) => pool.claim(addr).map_err(|refusal| refused(addr, refusal)),
            None => Ok(()),
        }
    }

    /// Ends leases; the addresses rest. What is not leased is left alone.
    pub(crate) fn release(&mut self, addresses: &[IpAddr], now: Duration) {
        for addr in addresses {
            self.pool_of(*addr).into_iter().for_each(|pool| pool.release(*addr, now));
        }
    }

    /// Ends leases that nobody ever saw: the addresses need no rest.
    pub(crate) fn cancel(&mut self, addresses: &[IpAddr]) {
        for addr in addresses {
            self.pool_of(*addr).into_iter().for_each(|pool| pool.cancel(*addr));
        }
    }

    pub(crate) fn status(&self, now: Duration) -> Vec<PoolStatus> {
        self.pools.iter().map(|pool| pool.status(now)).collect()
    }

    /// Families without an address left, as the error that the next request would get.
    pub(crate) fn exhausted(&self) -> Vec<IpamError> {
        let of_family = |v6: bool| self.pools.iter().filter(move |pool| pool.cidr().addr().is_ipv6() == v6);
        [false, true]
            .into_iter()
            .filter(|v6| of_family(*v6).next().is_some() && of_family(*v6).all(Pool::is_exhausted))
            .map(|v6| IpamError::Exhausted { pools: of_family(v6).map(Pool::cidr).collect() })
            .collect()
    }

    fn grant(&mut self, request: Request<'_>, now: Duration, granted: &mut Vec<IpAddr>) -> Result<(), IpamError> {
        for addr in request.ips {
            if granted.contains(addr) {
                return Err(IpamError::Duplicate { addr: *addr });
            }
            let pools = self.cidrs();
            let pool = self.pool_of(*addr).ok_or(IpamError::Outside { addr: *addr, pools })?;
            pool.claim(*addr).map_err(|refusal| refused(*addr, refusal))?;
            granted.push(*addr);
        }
        if request.ranges.is_empty() {
            self.grant_families(now, granted)
        } else {
            self.grant_sets(request, now, granted)
        }
    }

    /// One address of each family that has a pool and is not served yet.
    fn grant_families(&mut self, now: Duration, granted: &mut Vec<IpAddr>) -> Result<(), IpamError> {
        for v6 in [false, true] {
            if granted.iter().any(|addr| addr.is_ipv6() == v6) {
                continue;
            }
            let mut tried = Vec::new();
            for pool in self.pools.iter_mut().filter(|pool| pool.cidr().addr().is_ipv6() == v6) {
                tried.push(pool.cidr());
                if let Some(addr) = pool.lease(&[pool.span()], now) {
                    granted.push(addr);
                    tried.clear();
                    break;
                }
            }
            if !tried.is_empty() {
                return Err(IpamError::Exhausted { pools: tried });
            }
        }
        Ok(())
    }

    /// One address out of each set: one that was asked for by name, or else a free one.
    fn grant_sets(&mut self, request: Request<'_>, now: Duration, granted: &mut Vec<IpAddr>) -> Result<(), IpamError> {
        let mut named = request.ips.to_vec();
        for set in request.ranges {
            for range in set {
                self.check_range(*range)?;
            }
            if let Some(at) = named.iter().position(|addr| set.iter().any(|range| lies_in(*addr, *range))) {
                named.swap_remove(at);
                continue;
            }
            let found = self.pools.iter_mut().find_map(|pool| {
                let in_pool = set.iter().filter(|range| pool.cidr().contains(&range.start));
                pool.lease(&in_pool.map(|range| Span::from(*range)).collect::<Vec<_>>(), now)
            });
            granted.push(found.ok_or_else(|| IpamError::RangesExhausted { set: set.clone() })?);
        }
        named.first().map_or(Ok(()), |addr| Err(IpamError::NotInRanges { addr: *addr }))
    }

    fn check_range(&self, range: IpRange) -> Result<(), IpamError> {
        if range.start.is_ipv4() != range.end.is_ipv4() || range.start > range.end {
            return Err(IpamError::Malformed { range });
        }
        let inside = |pool: &Pool| pool.cidr().contains(&range.start) && pool.cidr().contains(&range.end);
        if self.pools.iter().any(inside) { Ok(()) } else { Err(IpamError::RangeOutside { range, pools: self.cidrs() }) }
    }

    fn cidrs(&self) -> Vec<IpNet> {
        self.pools.iter().map(Pool::cidr).collect()
    }

    pub(super) fn pool_of(&mut self, addr: IpAddr) -> Option<&mut Pool> {
        self.pools.iter_mut().find(|pool| pool.cidr().contains(&addr))
    }
}

fn refused(addr: IpAddr, refusal: Refusal) -> IpamError {
    match refusal {
        Refusal::Leased => IpamError::InUse { addr },
        Refusal::Reserved(what) => IpamError::Reserved { addr, what },
    }
}

fn lies_in(addr: IpAddr, range: IpRange) -> bool {
    addr.is_ipv4() == range.start.is_ipv4() && (range.start..=range.end).contains(&addr)
}

fn list(nets: &[IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list_ranges(ranges: &[IpRange]) -> String {
    ranges.iter().map(|range| format!("{}-{}", range.start, range.end)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn pools(cidrs: &[&str]) -> Pools {
        Pools::new(&cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect::<Vec<_>>())
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn set(ranges: &[(&str, &str)]) -> Vec<IpRange> {
        ranges.iter().map(|(start, end)| IpRange { start: start.parse().unwrap(), end: end.parse().unwrap() }).collect()
    }

    #[test]
    fn one_address_of_each_family_ipv4_first() {
        let mut pools = pools(&["fd00::/64", "10.0.0.0/24"]);
        assert_eq!(pools.lease(Request::default(), NOW).unwrap(), ips(&["10.0.0.2", "fd00::2"]));
        let wanted = ips(&["fd00::77"]);
        let got = pools.lease(Request { ips: &wanted, ranges: &[] }, NOW).unwrap();
        assert_eq!(got, ips(&["10.0.0.3", "fd00::77"]));
    }

    #[test]
    fn the_next_pool_of_a_family_takes_over() {
        let mut pools = pools(&["10.0.0.0/29", "10.1.0.0/29", "fd00::/64"]);
        let v4: Vec<_> = (0..10).map(|_| pools.lease(Request::default(), NOW).unwrap()[0]).collect();
        assert_eq!(v4[5..6], ips(&["10.1.0.2"]));
        let full = pools.lease(Request::default(), NOW).unwrap_err();
        assert!(full.to_string().contains("10.0.0.0/29, 10.1.0.0/29"), "{full}");
        assert_eq!(pools.exhausted(), [full]);
        assert_eq!(pools.status(NOW)[2].used, 10, "the failed request kept no IPv6 address");
    }

    #[test]
    fn refusals_name_the_address() {
        let mut pools = pools(&["10.0.0.0/24"]);
        pools.hold("10.0.0.9".parse().unwrap()).unwrap();
        for (wanted, part) in [
            (ips(&["10.0.0.9"]), "leased"),
            (ips(&["10.0.0.1"]), "gateway"),
            (ips(&["10.0.0.0"]), "network"),
            (ips(&["10.0.0.255"]), "broadcast"),
            (ips(&["10.0.1.2"]), "outside the pod ranges (10.0.0.0/24)"),
            (ips(&["fd00::2"]), "outside"),
            (ips(&["10.0.0.5", "10.0.0.5"]), "twice"),
        ] {
            let error = pools.lease(Request { ips: &wanted, ranges: &[] }, NOW).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(&wanted[0].to_string()), "{error}");
        }
        assert_eq!(pools.status(NOW)[0].used, 1);
        pools.hold("192.0.2.1".parse().unwrap()).unwrap();
    }

    #[test]
    fn range_sets_give_one_address_each() {
        let mut pools = pools(&["10.0.0.0/24", "fd00::/64"]);
        let sets = [set(&[("10.0.0.10", "10.0.0.10"), ("10.0.0.20", "10.0.0.21")]), set(&[("fd00::5", "fd00::5")])];
        let request = Request { ips: &[], ranges: &sets[..1] };
        let got: Vec<_> = (0..3).map(|_| pools.lease(request, NOW).unwrap()).collect();
        assert_eq!(got, ["10.0.0.10", "10.0.0.20", "10.0.0.21"].map(|text| ips(&[text])));
        assert!(pools.lease(request, NOW).unwrap_err().to_string().contains("10.0.0.20-10.0.0.21"));
        let both = Request { ips: &[], ranges: &sets };
        assert!(matches!(pools.lease(both, NOW), Err(IpamError::RangesExhausted { .. })));
        pools.release(&ips(&["10.0.0.20"]), NOW);
        assert_eq!(pools.lease(both, NOW).unwrap(), ips(&["10.0.0.20", "fd00::5"]));
    }

    #[test]
    fn a_named_address_serves_its_range_set() {
        let mut pools = pools(&["10.0.0.0/24", "fd00::/64"]);
        let sets = [set(&[("10.0.0.10", "10.0.0.20")]), set(&[("fd00::10", "fd00::20")])];
        let wanted = ips(&["10.0.0.15"]);
        let got = pools.lease(Request { ips: &wanted, ranges: &sets }, NOW).unwrap();
        assert_eq!(got, ips(&["10.0.0.15", "fd00::10"]));
        let outside = ips(&["10.0.0.30"]);
        let error = pools.lease(Request { ips: &outside, ranges: &sets }, NOW).unwrap_err();
        assert!(matches!(error, IpamError::NotInRanges { .. }));
        assert_eq!(pools.status(NOW)[0].used, 1);
    }

    #[test]
    fn wrong_ranges_are_refused() {
        let mut pools = pools(&["10.0.0.0/24"]);
        for (range, malformed) in [
            (("10.0.0.9", "10.0.0.2"), true),
            (("10.0.0.9", "fd00::1"), true),
            (("10.0.0.9", "10.0.1.2"), false),
            (("192.0.2.1", "192.0.2.9"), false),
        ] {
            let sets = [set(&[range])];
            let error = pools.lease(Request { ips: &[], ranges: &sets }, NOW).unwrap_err();
            assert_eq!(matches!(error, IpamError::Malformed { .. }), malformed, "{error}");
        }
    }

    #[test]
    fn a_restart_goes_on_behind_the_newest_lease() {
        let mut pools = pools(&["10.0.0.0/24"]);
        pools.resume_after("10.0.0.41".parse().unwrap());
        assert_eq!(pools.lease(Request::default(), NOW).unwrap(), ips(&["10.0.0.42"]));
        pools.resume_after("10.0.0.255".parse().unwrap());
        assert_eq!(pools.lease(Request::default(), NOW).unwrap(), ips(&["10.0.0.2"]));
    }

    proptest! {
        #[test]
        fn leases_are_distinct_and_whole(rounds in 1_usize..60, freed in proptest::collection::vec(0_usize..60, 0..30)) {
            let mut pools = pools(&["10.0.0.0/27", "fd00::/64"]);
            let mut live: Vec<Vec<IpAddr>> = Vec::new();
            for round in 0..rounds {
                if let Ok(lease) = pools.lease(Request::default(), NOW) {
                    prop_assert_eq!(lease.len(), 2);
                    prop_assert!(live.iter().flatten().all(|addr| !lease.contains(addr)));
                    live.push(lease);
                } else {
                    prop_assert_eq!(live.len(), 29);
                }
                if freed.contains(&round) && !live.is_empty() {
                    pools.release(&live.remove(0), NOW);
                }
                prop_assert!(pools.status(NOW).iter().all(|pool| pool.used == live.len() as u64));
            }
        }
    }
}
