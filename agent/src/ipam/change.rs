//! Ranges that change while pods live.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Pools;
use super::pool::Pool;

impl Pools {
    /// Makes these the ranges. A pool that stays keeps all that it knows. A new one learns which of its addresses are
    /// in `held`, oldest first; those that lie in no range are nothing to the pools any more.
    pub(crate) fn set_ranges(&mut self, cidrs: &[IpNet], held: impl IntoIterator<Item = IpAddr>) {
        let mut former = std::mem::take(&mut self.pools);
        let mut new = Vec::new();
        for cidr in cidrs {
            let stays = former.iter().position(|pool| pool.cidr() == *cidr).map(|at| former.swap_remove(at));
            new.extend(stays.is_none().then_some(*cidr));
            self.pools.push(stays.unwrap_or_else(|| Pool::new(*cidr)));
        }
        for addr in held.into_iter().filter(|addr| new.iter().any(|cidr| cidr.contains(addr))) {
            if let Some(pool) = self.pool_of(addr) {
                // One that is reserved in the new range and yet a pod's is nobody else's either.
                let _ = pool.claim(addr);
                pool.resume_after(addr);
            }
        }
        self.pools.iter_mut().for_each(|pool| pool.set_foreign(&self.foreign));
    }

    /// Names the addresses of pods that another plugin started, which are leased when nothing else is left.
    pub(crate) fn set_foreign(&mut self, addresses: Vec<IpAddr>) {
        self.foreign = addresses;
        self.pools.iter_mut().for_each(|pool| pool.set_foreign(&self.foreign));
    }

    /// Whether the address lies in a range.
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        self.pools.iter().any(|pool| pool.cidr().contains(&addr))
    }

    /// Whether there is a range at all.
    pub(crate) fn has_ranges(&self) -> bool {
        !self.pools.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::ipam::{IpamError, Request};

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pool_that_stays_forgets_nothing_and_a_new_one_learns() {
        let mut pools = Pools::new(&nets(&["10.1.0.0/29", "fd00:1::/64"]));
        let first = pools.lease(Request::default(), Duration::ZERO).unwrap();
        let freed = pools.lease(Request::default(), Duration::ZERO).unwrap();
        pools.release(&freed, Duration::ZERO);
        let held = [first.clone(), ips(&["10.2.0.2"])].concat();
        pools.set_ranges(&nets(&["10.2.0.0/29", "fd00:1::/64"]), held);
        let status = pools.status(Duration::ZERO);
        assert_eq!((status[0].used, status[0].resting), (1, 0));
        assert_eq!((status[1].used, status[1].resting), (1, 1), "leases and rests as before");
        assert_eq!(pools.lease(Request::default(), Duration::ZERO).unwrap(), ips(&["10.2.0.3", "fd00:1::4"]));
        assert!(pools.contains(first[1]) && !pools.contains(first[0]));
        // The old address is nothing to the pools; its release does no harm.
        pools.release(&first, Duration::ZERO);
        assert_eq!(pools.status(Duration::ZERO)[0].used, 2);
    }

    #[test]
    fn foreign_pods_keep_their_addresses_in_ranges_that_come_later() {
        let mut pools = Pools::new(&[]);
        pools.set_foreign(ips(&["10.1.0.2"]));
        pools.set_ranges(&nets(&["10.1.0.0/29"]), None);
        assert_eq!(pools.lease(Request::default(), Duration::ZERO).unwrap(), ips(&["10.1.0.3"]));
        pools.set_foreign(ips(&["10.1.0.4"]));
        assert_eq!(pools.lease(Request::default(), Duration::ZERO).unwrap(), ips(&["10.1.0.5"]));
    }

    #[test]
    fn addresses_of_foreign_pods_are_the_last_resort() {
        let mut pools = Pools::new(&nets(&["10.0.0.0/29"]));
        pools.set_foreign(ips(&["10.0.0.2", "10.0.0.1", "10.9.0.1"]));
        assert_eq!(pools.status(Duration::ZERO)[0].capacity, 5);
        for rest in ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"] {
            assert_eq!(pools.lease(Request::default(), Duration::ZERO).unwrap(), ips(&[rest]));
        }
        assert!(pools.lease(Request::default(), Duration::ZERO).is_err());
        pools.set_foreign(Vec::new());
        assert_eq!(pools.status(Duration::ZERO)[0].used, 5, "what is leased is no longer theirs");
    }

    #[test]
    fn without_a_range_nothing_is_leased() {
        let mut pools = Pools::new(&[]);
        assert!(!pools.has_ranges() && pools.exhausted().is_empty());
        assert_eq!(pools.lease(Request::default(), Duration::ZERO), Err(IpamError::NoRange));
        pools.set_ranges(&nets(&["10.1.0.0/29"]), ips(&["10.1.0.2"]));
        assert_eq!(pools.lease(Request::default(), Duration::ZERO).unwrap(), ips(&["10.1.0.3"]));
    }
}
