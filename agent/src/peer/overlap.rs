//! Ranges that share addresses, among thousands.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges with their owners, by their first addresses. Whoever adds one sees to it that none overlaps another.
#[derive(Debug)]
pub(crate) struct Ranges<T>(BTreeMap<IpAddr, (IpNet, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Extend<(IpNet, T)> for Ranges<T> {
    fn extend<I: IntoIterator<Item = (IpNet, T)>>(&mut self, ranges: I) {
        self.0.extend(ranges.into_iter().map(|(range, owner)| (range.network(), (range, owner))));
    }
}

impl<T: Copy> Ranges<T> {
    /// All of them.
    ///
    /// # Errors
    /// The first two that overlap, the wider one first.
    pub(super) fn distinct(mut ranges: Vec<(IpNet, T)>) -> Result<Self, [(IpNet, T); 2]> {
        ranges.sort_unstable_by_key(|(range, _)| (range.network(), range.prefix_len()));
        // One of two ranges that overlap holds the other whole, so neighbours tell.
        for pair in ranges.windows(2) {
            if let [first, second] = pair
                && first.0.contains(&second.0)
            {
                return Err([*first, *second]);
            }
        }
        let mut all = Self::default();
        all.extend(ranges);
        Ok(all)
    }

    /// The range that overlaps this one: it begins before it and holds it, or begins within it.
    pub(crate) fn overlapping(&self, range: &IpNet) -> Option<(IpNet, T)> {
        let before = self.0.range(..=range.network()).next_back().filter(|(_, (other, _))| other.contains(range));
        let within = || self.0.range(range.network()..=range.broadcast()).next();
        before.or_else(within).map(|(_, found)| *found)
    }

    /// The range that holds the address.
    pub(crate) fn holding(&self, address: IpAddr) -> Option<(IpNet, T)> {
        self.overlapping(&address.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(texts: &[&str]) -> Result<Ranges<usize>, [(IpNet, usize); 2]> {
        Ranges::distinct(texts.iter().enumerate().map(|(at, text)| (text.parse().unwrap(), at)).collect())
    }

    #[test]
    fn the_wider_of_two_comes_first() {
        let [first, second] = ranges(&["10.1.9.0/24", "fd00::/64", "10.0.0.0/24", "10.1.0.0/16"]).unwrap_err();
        assert_eq!((first.1, second.1), (3, 0));
        assert!(ranges(&["10.1.0.0/24", "10.1.1.0/24", "fd00::/64", "fd00:0:0:1::/64"]).is_ok());
        assert!(ranges(&["10.1.0.0/24", "10.1.0.0/24"]).is_err());
    }

    #[test]
    fn an_address_finds_its_range() {
        let ranges = ranges(&["10.1.0.0/24", "10.1.2.0/24", "fd00::/64"]).unwrap();
        let holding = |text: &str| ranges.holding(text.parse().unwrap()).map(|(_, owner)| owner);
        assert_eq!(holding("10.1.2.0"), Some(1));
        assert_eq!(holding("10.1.2.255"), Some(1));
        assert_eq!(holding("10.1.1.1"), None);
        assert_eq!(holding("9.0.0.1"), None);
        assert_eq!(holding("fd00::1"), Some(2));
        assert_eq!(holding("fd00:0:0:1::1"), None);
    }

    fn overlap(a: &IpNet, b: &IpNet) -> bool {
        a.contains(b) || b.contains(a)
    }

    proptest! {
        #[test]
        fn as_comparing_each_with_each(seeds in prop::collection::vec((any::<u16>(), 16u8..=32), 0..12)) {
            let net = |(bits, len): &(u16, u8)| IpNet::new(IpAddr::from((u32::from(*bits) << 12).to_be_bytes()), *len);
            let nets: Vec<_> = seeds.iter().map(|seed| net(seed).unwrap().trunc()).collect();
            let each = nets.iter().enumerate().any(|(at, a)| nets[at + 1..].iter().any(|b| overlap(a, b)));
            let found = Ranges::distinct(nets.iter().map(|net| (*net, ())).collect());
            prop_assert_eq!(found.is_err(), each);
            let (mut some, mut taken) = (Ranges::default(), Vec::<IpNet>::new());
            for net in nets {
                let overlaps = taken.iter().any(|other| overlap(other, &net));
                prop_assert_eq!(some.overlapping(&net).is_some(), overlaps);
                if !overlaps {
                    some.extend([(net, ())]);
                    taken.push(net);
                }
            }
        }
    }
}
