//! One pod range: what of it is leased, rests, or is not for pods.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use weft_cni::api::PoolStatus;

use super::range::{Span, address, number};

/// How long a released address is kept out of use while others are free: late packets of its old flows, neighbour
/// and DNS caches have forgotten it by then.
pub(super) const REST: Duration = Duration::from_secs(60);

/// Why an address is not free. What is not in the map is free, so a pool costs memory only for what is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Network, gateway or broadcast address.
    Fixed(&'static str),
    /// An address of the node itself.
    Node,
    Leased,
    Resting,
    /// A pod has it that another plugin started.
    Foreign,
}

/// Why an address could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Leased,
    Reserved(&'static str),
}

#[derive(Debug)]
pub(super) struct Pool {
    cidr: IpNet,
    span: Span,
    taken: BTreeMap<u128, Taken>,
    /// Released addresses with the time of their release, oldest first.
    resting: VecDeque<(Duration, u128)>,
    leased: u64,
    /// Where the search for a free address begins: behind the last one found, so that it comes round last.
    cursor: u128,
}

impl Pool {
    pub(super) fn new(cidr: IpNet) -> Self {
        let span = Span::from(cidr);
        let mut taken = BTreeMap::from([
            (span.low, Taken::Fixed("the network's own address")),
            (span.low + 1, Taken::Fixed("the gateway's address")),
        ]);
        if cidr.addr().is_ipv4() {
            taken.insert(span.high, Taken::Fixed("the broadcast address"));
        }
        Self { cidr, span, taken, resting: VecDeque::new(), leased: 0, cursor: span.low }
    }

    pub(super) fn cidr(&self) -> IpNet {
        self.cidr
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Names the node's own addresses anew. One that a pod holds already stays the pod's.
    pub(super) fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        self.taken.retain(|_, taken| *taken != Taken::Node);
        for addr in addresses.iter().filter(|addr| self.cidr.contains(*addr)) {
            let number = number(*addr);
            match self.taken.get(&number) {
                Some(Taken::Fixed(_) | Taken::Leased | Taken::Node) => continue,
                Some(Taken::Resting) => self.resting.retain(|(_, resting)| *resting != number),
                Some(Taken::Foreign) | None => {}
            }
            self.taken.insert(number, Taken::Node);
        }
    }

    /// Names the addresses of pods that are none of ours anew: they are leased when nothing else is left, as a list that is
    /// out of date must not stop a node.
    pub(super) fn set_foreign(&mut self, addresses: &[IpAddr]) {
        self.taken.retain(|_, taken| *taken != Taken::Foreign);
        for addr in addresses.iter().filter(|addr| self.cidr.contains(*addr)) {
            self.taken.entry(number(*addr)).or_insert(Taken::Foreign);
        }
    }

    /// Begins the next search behind this address.
    pub(super) fn resume_after(&mut self, addr: IpAddr) {
        self.cursor = number(addr).saturating_add(1);
    }

    /// Leases exactly this address, which lies in the range.
    pub(super) fn claim(&mut self, addr: IpAddr) -> Result<(), Refusal> {
        let number = number(addr);
        match self.taken.get(&number) {
            Some(Taken::Leased) => return Err(Refusal::Leased),
            Some(Taken::Fixed(what)) => return Err(Refusal::Reserved(what)),
            Some(Taken::Node) => return Err(Refusal::Reserved("an address of the node itself")),
            Some(Taken::Resting) => self.resting.retain(|(_, resting)| *resting != number),
            Some(Taken::Foreign) | None => {}
        }
        self.taken.insert(number, Taken::Leased);
        self.leased += 1;
        Ok(())
    }

    /// Leases an address inside one of `spans`: the next free one behind the cursor, or when there is none the one
    /// that rested longest, then one that is foreign. `now` never goes backwards.
    pub(super) fn lease(&mut self, spans: &[Span], now: Duration) -> Option<IpAddr> {
        self.wake(now);
        let number = self.find_free(spans).or_else(|| self.find_resting(spans)).or_else(|| self.find_foreign(spans))?;
        self.cursor = number.saturating_add(1);
        let addr = address(number, self.cidr.addr());
        self.claim(addr).ok().map(|()| addr)
    }

    /// Ends a lease; the address rests. One that is not leased is left alone.
    pub(super) fn release(&mut self, addr: IpAddr, now: Duration) {
        let number = number(addr);
        if let Some(taken) = self.taken.get_mut(&number).filter(|taken| **taken == Taken::Leased) {
            *taken = Taken::Resting;
            self.resting.push_back((now, number));
            self.leased -= 1;
        }
    }

    /// Ends a lease that nobody ever saw; the address is free at once.
    pub(super) fn cancel(&mut self, addr: IpAddr) {
        let number = number(addr);
        if self.taken.get(&number) == Some(&Taken::Leased) {
            self.taken.remove(&number);
            self.leased -= 1;
        }
    }

    pub(super) fn status(&self, now: Duration) -> PoolStatus {
        let resting = self.resting.iter().filter(|(since, _)| now.saturating_sub(*since) < REST).count() as u64;
        PoolStatus { cidr: self.cidr, capacity: self.capacity(), used: self.leased, resting }
    }

    /// Addresses that can be leased at all; saturating.
    fn capacity(&self) -> u64 {
        let unusable = self.taken.values().filter(|taken| matches!(taken, Taken::Fixed(_) | Taken::Node)).count();
        let size = (self.span.high - self.span.low).saturating_add(1);
        u64::try_from(size.saturating_sub(unusable as u128)).unwrap_or(u64::MAX)
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.leased >= self.capacity()
    }

    /// Frees what has rested long enough.
    fn wake(&mut self, now: Duration) {
        while let Some((since, number)) = self.resting.front().copied() {
            if now.saturating_sub(since) < REST {
                break;
            }
            self.resting.pop_front();
            self.taken.remove(&number);
        }
    }

    fn find_free(&self, spans: &[Span]) -> Option<u128> {
        let ahead = Span { low: self.cursor, high: self.span.high };
        let behind = Span { low: self.span.low, high: self.cursor };
        [ahead, behind].into_iter().find_map(|half| {
            spans.iter().filter_map(|span| span.intersect(half)?.intersect(self.span)).find_map(|span| self.gap(span))
        })
    }

    /// The first number in the span that is not taken.
    fn gap(&self, span: Span) -> Option<u128> {
        let mut candidate = span.low;
        for taken in self.taken.range(span.low..=span.high).map(|(number, _)| *number) {
            if taken > candidate {
                break;
            }
            candidate = taken.checked_add(1)?;
        }
        span.contains(candidate).then_some(candidate)
    }

    fn find_resting(&self, spans: &[Span]) -> Option<u128> {
        let mut numbers = self.resting.iter().map(|(_, number)| *number);
        numbers.find(|number| spans.iter().any(|span| span.contains(*number)))
    }

    fn find_foreign(&self, spans: &[Span]) -> Option<u128> {
        let foreign = self.taken.iter().filter(|(_, taken)| **taken == Taken::Foreign);
        foreign.map(|(number, _)| *number).find(|number| spans.iter().any(|span| span.contains(*number)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pool(cidr: &str) -> Pool {
        Pool::new(cidr.parse().unwrap())
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn lease(pool: &mut Pool, now: u64) -> Option<String> {
        pool.lease(&[pool.span()], at(now)).map(|addr| addr.to_string())
    }

    #[test]
    fn capacity_is_exact_and_reserved_addresses_never_leave() {
        let mut pool = pool("10.0.0.0/29");
        let got: Vec<_> = std::iter::from_fn(|| lease(&mut pool, 0)).collect();
        assert_eq!(got, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(pool.status(at(0)).capacity, 5);
        assert!(pool.is_exhausted());
    }

    #[test]
    fn freed_addresses_come_round_last() {
        let mut pool = pool("10.0.0.0/29");
        let first = lease(&mut pool, 0).unwrap();
        pool.release(first.parse().unwrap(), at(0));
        let rest: Vec<_> = std::iter::from_fn(|| lease(&mut pool, 1)).take(4).collect();
        assert!(!rest.contains(&first));
        assert_eq!(lease(&mut pool, 1), Some(first), "only resting ones left: the one that rested longest");
        assert_eq!(lease(&mut pool, 1), None);
    }

    #[test]
    fn the_longest_rested_goes_first_and_rest_ends() {
        let mut pool = pool("10.0.0.0/29");
        let all: Vec<_> = std::iter::from_fn(|| lease(&mut pool, 0)).collect();
        for (when, index) in [(10, 3), (20, 1), (200, 0)] {
            pool.release(all[index].parse().unwrap(), at(when));
        }
        assert_eq!(pool.status(at(25)).resting, 2 + 1);
        assert_eq!(pool.status(at(200)).resting, 1, "the two others are free again");
        assert_eq!(lease(&mut pool, 200).as_deref(), Some("10.0.0.3"));
        assert_eq!(lease(&mut pool, 200).as_deref(), Some("10.0.0.5"));
        assert_eq!(lease(&mut pool, 200).as_deref(), Some("10.0.0.2"));
    }

    #[test]
    fn node_addresses_are_not_for_pods() {
        let mut pool = pool("10.0.0.0/29");
        let node = ["10.0.0.2", "10.0.0.1", "192.0.2.1"].map(|text| text.parse().unwrap());
        pool.set_node_addresses(&node);
        assert_eq!(pool.status(at(0)).capacity, 4);
        assert_eq!(pool.claim(node[0]), Err(Refusal::Reserved("an address of the node itself")));
        assert_eq!(lease(&mut pool, 0).as_deref(), Some("10.0.0.3"));
        pool.set_node_addresses(&[]);
        assert_eq!(pool.status(at(0)).capacity, 5);
        assert_eq!(pool.claim("10.0.0.1".parse().unwrap()), Err(Refusal::Reserved("the gateway's address")));
    }

    #[test]
    fn a_huge_pool_costs_only_what_is_taken() {
        let mut pool = pool("fd00::/64");
        for _ in 0..1000 {
            let addr = lease(&mut pool, 0).unwrap();
            pool.release(addr.parse().unwrap(), at(0));
        }
        assert_eq!(pool.status(at(0)).capacity, u64::MAX - 1);
        assert_eq!(lease(&mut pool, 60).as_deref(), Some("fd00::3ea"));
        assert!(pool.taken.len() < 5 && pool.resting.is_empty());
    }

    #[test]
    fn the_top_of_the_address_space_does_not_wrap() {
        let mut pool = pool("fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126");
        assert_eq!(lease(&mut pool, 0).as_deref(), Some("fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"));
        assert_eq!(lease(&mut pool, 0).as_deref(), Some("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(lease(&mut pool, 0), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Lease,
        Claim(u8),
        Release(u8),
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Lease),
            1 => any::<u8>().prop_map(Step::Claim),
            2 => any::<u8>().prop_map(Step::Release),
            1 => any::<u8>().prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn never_double_never_reserved_never_lost(
            cidr in prop_oneof![Just("10.0.0.16/28"), Just("fd00::/124")],
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut pool = pool(cidr);
            let span = pool.span();
            let capacity = usize::try_from(pool.capacity()).unwrap();
            let usable = |number| number > span.low + 1 && (cidr.contains(':') || number < span.high);
            let (mut held, mut now) = (BTreeSet::new(), at(0));
            for step in steps {
                match step {
                    Step::Lease => {
                        let got = pool.lease(&[span], now).map(number);
                        prop_assert!(got.is_some() || held.len() == capacity);
                        prop_assert!(got.is_none_or(|got| usable(got) && span.contains(got) && held.insert(got)));
                    }
                    Step::Claim(offset) => {
                        let wanted = span.low + u128::from(offset % 16);
                        let granted = pool.claim(address(wanted, pool.cidr.addr())).is_ok();
                        prop_assert_eq!(granted, usable(wanted) && !held.contains(&wanted));
                        held.extend(granted.then_some(wanted));
                    }
                    Step::Release(offset) => {
                        let number = span.low + u128::from(offset % 16);
                        pool.release(address(number, pool.cidr.addr()), now);
                        held.remove(&number);
                    }
                    Step::Wait(secs) => now += at(u64::from(secs)),
                }
                let status = pool.status(now);
                prop_assert_eq!(status.used, held.len() as u64);
                prop_assert!(status.used + status.resting <= status.capacity);
            }
            // What was released can be leased again, to the last address.
            while let Some(got) = pool.lease(&[span], now).map(number) {
                prop_assert!(held.insert(got));
            }
            prop_assert_eq!(held.len(), capacity);
        }
    }
}
