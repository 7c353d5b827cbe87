//! Other nodes as peers: one that contradicts another is left out and named, and takes none with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::parse_network;
use crate::peer::{Peer, Ranges};
use crate::text;

/// Named in one sentence; the log would drown in more.
const NAMED: usize = 3;

/// A node that may become a peer.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// RFC 3339, of UTC.
    pub(super) created: &'a str,
    /// Whether the newest list had it not.
    pub(super) held: bool,
    pub(super) addresses: &'a [IpAddr],
    /// Its ranges, or the text that is none.
    pub(super) ranges: Result<&'a [IpNet], &'a str>,
}

/// Peers by name, and a sentence about those that cannot be. The elder of two that contradict each other stays: its pods
/// run. A node without an address yet is no peer, and nothing is wrong with it.
pub(super) fn peers(
    mut candidates: Vec<Candidate<'_>>,
    own_ranges: &[IpNet],
    own_addresses: &[IpAddr],
) -> (Vec<Peer>, Option<String>) {
    candidates.sort_unstable_by_key(|candidate| (candidate.held, candidate.created, candidate.name));
    let mut taken = Taken::default();
    taken.take("this node", own_ranges, own_addresses);
    let (mut peers, mut left_out) = (Vec::with_capacity(candidates.len()), Vec::new());
    for Candidate { name, addresses, ranges, .. } in candidates {
        if addresses.is_empty() {
            log::debug!("node {name} has no InternalIP yet");
            continue;
        }
        match ranges.map_err(|text| format!("podCIDR {text:?} is no range")).and_then(|ranges| {
            taken.check(addresses, ranges)?;
            Ok(ranges)
        }) {
            Ok(ranges) => {
                taken.take(name, ranges, addresses);
                peers.push(Peer { name: name.into(), addresses: addresses.into(), pod_cidrs: ranges.into() });
            }
            Err(why) => left_out.push(format!("{name} ({why})")),
        }
    }
    peers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let problem = (!left_out.is_empty()).then(|| {
        let named = text::first_of(NAMED, &left_out);
        format!("no peer, as it contradicts another: node {named}; correct or delete the node")
    });
    (peers, problem)
}

/// Whose ranges and addresses are whose.
#[derive(Debug, Default)]
struct Taken<'a> {
    ranges: Ranges<&'a str>,
    addresses: BTreeMap<IpAddr, &'a str>,
}

impl<'a> Taken<'a> {
    fn take(&mut self, name: &'a str, ranges: &[IpNet], addresses: &[IpAddr]) {
        self.ranges.extend(ranges.iter().map(|range| (*range, name)));
        self.addresses.extend(addresses.iter().map(|address| (*address, name)));
    }

    /// Why a node with those contradicts what is taken.
    fn check(&self, addresses: &[IpAddr], ranges: &[IpNet]) -> Result<(), String> {
        for (at, range) in ranges.iter().enumerate() {
            // What is no range of pods anywhere is none here.
            parse_network(&range.to_string()).map_err(|error| error.to_string())?;
            if let Some(other) = ranges[..at].iter().find(|other| other.contains(range) || range.contains(*other)) {
                return Err(format!("its podCIDRs {other} and {range} overlap"));
            }
            if let Some((other, owner)) = self.ranges.overlapping(range) {
                return Err(format!("podCIDR {range} overlaps {other} of {owner}"));
            }
            // A tunnel to such an address would lead into itself.
            if let Some((address, owner)) = self.addresses.range(range.network()..=range.broadcast()).next() {
                return Err(format!("podCIDR {range} holds {address} of {owner}"));
            }
        }
        for address in addresses {
            if let Some(owner) = self.addresses.get(address) {
                return Err(format!("InternalIP {address} is {owner}'s"));
            }
            let own = ranges.iter().find(|range| range.contains(address)).map(|range| (*range, "its own"));
            if let Some((range, owner)) = own.or_else(|| self.ranges.holding(*address)) {
                return Err(format!("InternalIP {address} is in podCIDR {range} of {owner}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Written<'a> = (&'a str, &'a str, bool, &'a [&'a str], &'a [&'a str]);

    fn read(nodes: &[Written<'_>]) -> (Vec<String>, String) {
        let parsed: Vec<(Vec<IpAddr>, Vec<IpNet>)> = nodes
            .iter()
            .map(|(.., addresses, ranges)| {
                let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
                (addresses, ranges.iter().map(|text| text.parse().unwrap()).collect())
            })
            .collect();
        let candidates = nodes.iter().zip(&parsed).map(|((name, created, held, ..), (addresses, ranges))| Candidate {
            name,
            created,
            held: *held,
            addresses,
            ranges: Ok(ranges),
        });
        let own = ["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()];
        let (peers, problem) = peers(candidates.collect(), &own, &["192.0.2.11".parse().unwrap()]);
        (peers.into_iter().map(|peer| peer.name.into_string()).collect(), problem.unwrap_or_default())
    }

    #[test]
    fn the_younger_of_two_is_left_out_and_named() {
        let n2: Written<'_> = ("n2", "2026-01-02T00:00:00Z", false, &["192.0.2.12"], &["10.244.2.0/24", "fd00:2::/64"]);
        for (nodes, kept, parts) in [
            (vec![n2, ("n3", "2026-01-03T00:00:00Z", false, &["192.0.2.13"], &[])], vec!["n2", "n3"], vec![]),
            (vec![n2, ("n1b", "2026-01-01T00:00:00Z", false, &[], &["10.244.2.0/24"])], vec!["n2"], vec![]),
            (
                vec![n2, ("n1b", "2026-01-01T00:00:00Z", false, &["192.0.2.9"], &["10.244.2.128/25"])],
                vec!["n1b"],
                vec!["n2", "10.244.2.0/24", "10.244.2.128/25", "n1b"],
            ),
            (
                vec![n2, ("n3", "2026-01-02T00:00:00Z", false, &["192.0.2.9"], &["fd00:2::/96"])],
                vec!["n2"],
                vec!["n3", "fd00:2::/96 overlaps fd00:2::/64 of n2"],
            ),
            (
                vec![n2, ("n1b", "2026-01-01T00:00:00Z", true, &["192.0.2.9"], &["10.244.2.0/24"])],
                vec!["n2"],
                vec!["n1b"],
            ),
            (vec![n2, ("n3", "x", false, &["192.0.2.12"], &[])], vec!["n2"], vec!["n3", "192.0.2.12 is n2's"]),
            (vec![n2, ("n3", "x", false, &["192.0.2.11"], &[])], vec!["n2"], vec!["n3", "192.0.2.11 is this node's"]),
            (vec![n2, ("n3", "x", false, &["192.0.2.9"], &["10.244.0.0/16"])], vec!["n2"], vec!["n3", "10.244.0.0/16"]),
            (vec![n2, ("n3", "x", false, &["192.0.3.9"], &["192.0.3.8/29"])], vec!["n2"], vec!["n3", "its own"]),
            (vec![n2, ("n3", "x", false, &["192.0.3.9"], &["192.0.2.0/24"])], vec!["n2"], vec!["n3", "192.0.2.11"]),
            (vec![n2, ("n3", "x", false, &["10.244.2.9"], &[])], vec!["n2"], vec!["n3", "10.244.2.9", "of n2"]),
            (vec![n2, ("n3", "x", false, &["192.0.2.9"], &["0.0.0.0/0"])], vec!["n2"], vec!["n3", "0.0.0.0/0"]),
            (vec![n2, ("n3", "x", false, &["192.0.2.9"], &["10.9.0.1/24"])], vec!["n2"], vec!["n3", "10.9.0.1/24"]),
            (
                vec![n2, ("n3", "x", false, &["192.0.2.9"], &["10.9.0.0/16", "10.9.1.0/24"])],
                vec!["n2"],
                vec!["n3", "10.9.0.0/16", "10.9.1.0/24"],
            ),
        ] {
            let (names, problem) = read(&nodes);
            assert_eq!(names, kept, "{nodes:?}: {problem}");
            assert_eq!(problem.is_empty(), parts.is_empty(), "{nodes:?}: {problem}");
            assert!(parts.iter().all(|part| problem.contains(part)), "{nodes:?}: {problem}");
        }
    }

    #[test]
    fn many_are_counted() {
        let names: Vec<_> = (0..9).map(|at| format!("n{at}")).collect();
        let nodes: Vec<Written<'_>> =
            names.iter().map(|name| (name.as_str(), "x", false, &["192.0.2.7"][..], &[][..])).collect();
        let (kept, problem) = read(&nodes);
        assert_eq!(kept, ["n0"]);
        assert!(problem.contains("n1") && problem.contains("n3") && problem.contains("and 5 more"), "{problem}");
    }
}
