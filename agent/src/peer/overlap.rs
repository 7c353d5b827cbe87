//! Ranges that share addresses, among thousands.

use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges in the order of their first addresses, the wider first, each with its owner.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    sorted: Vec<(IpNet, T)>,
}

impl<T: Copy> Ranges<T> {
    pub(super) fn new(mut ranges: Vec<(IpNet, T)>) -> Self {
        ranges.sort_unstable_by_key(|(range, _)| (range.network(), range.prefix_len()));
        Self { sorted: ranges }
    }

    /// The first two that overlap. One of two such ranges holds the other whole, so neighbours tell.
    pub(super) fn overlap(&self) -> Option<[(IpNet, T); 2]> {
        self.sorted.windows(2).find_map(|pair| match pair {
            [first, second] if first.0.contains(&second.0) => Some([*first, *second]),
            _ => None,
        })
    }

    /// The range that holds the address, where none overlaps another.
    pub(super) fn holding(&self, address: IpAddr) -> Option<(IpNet, T)> {
        let behind = self.sorted.partition_point(|(range, _)| range.network() <= address);
        self.sorted[..behind].last().copied().filter(|(range, _)| range.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(texts: &[&str]) -> Ranges<usize> {
        Ranges::new(texts.iter().enumerate().map(|(at, text)| (text.parse().unwrap(), at)).collect())
    }

    #[test]
    fn the_wider_of_two_comes_first() {
        let [first, second] = ranges(&["10.1.9.0/24", "fd00::/64", "10.0.0.0/24", "10.1.0.0/16"]).overlap().unwrap();
        assert_eq!((first.1, second.1), (3, 0));
        assert!(ranges(&["10.1.0.0/24", "10.1.1.0/24", "fd00::/64", "fd00:0:0:1::/64"]).overlap().is_none());
        assert!(ranges(&["10.1.0.0/24", "10.1.0.0/24"]).overlap().is_some());
    }

    #[test]
    fn an_address_finds_its_range() {
        let ranges = ranges(&["10.1.0.0/24", "10.1.2.0/24", "fd00::/64"]);
        let holding = |text: &str| ranges.holding(text.parse().unwrap()).map(|(_, owner)| owner);
        assert_eq!(holding("10.1.2.255"), Some(1));
        assert_eq!(holding("10.1.1.1"), None);
        assert_eq!(holding("9.0.0.1"), None);
        assert_eq!(holding("fd00::1"), Some(2));
        assert_eq!(holding("fd00:0:0:1::1"), None);
    }

    proptest! {
        #[test]
        fn as_comparing_each_with_each(seeds in prop::collection::vec((any::<u16>(), 16u8..=32), 0..12)) {
            let net = |(bits, len): &(u16, u8)| IpNet::new(IpAddr::from((u32::from(*bits) << 12).to_be_bytes()), *len);
            let nets: Vec<_> = seeds.iter().map(|seed| net(seed).unwrap().trunc()).collect();
            let each = nets.iter().enumerate().any(|(at, a)| {
                nets[at + 1..].iter().any(|b| a.contains(b) || b.contains(a))
            });
            let found = Ranges::new(nets.iter().map(|net| (*net, ())).collect()).overlap();
            prop_assert_eq!(found.is_some(), each);
        }
    }
}
