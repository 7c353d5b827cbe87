//! The peers file: from its text to a list that can be acted on whole.
//!
//! ```toml
//! [[peer]]
//! name = "n2"
//! addresses = ["192.0.2.12", "2001:db8::12"]
//! pod-cidrs = ["10.244.2.0/24", "fd00:10:244:2::/64"]
//! ```

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::{CidrError, parse_network};

use super::error::PeerError;
use super::overlap::Ranges;
use super::{Peer, PeerSet};

/// The longest name that Kubernetes gives a node (RFC 1123).
const MAX_NAME: usize = 253;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    peer: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    name: String,
    addresses: Vec<String>,
    #[serde(default)]
    pod_cidrs: Vec<String>,
}

/// Who has a range: a peer by its place in the list, or this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Peer(usize),
    Own,
}

/// Reads the list of the node with that name and those pod ranges.
///
/// # Errors
/// The first thing that is wrong in it; nothing of such a list may be used.
pub(super) fn parse(text: &str, own_name: &str, own_ranges: &[IpNet]) -> Result<PeerSet, PeerError> {
    let mut peers = Vec::new();
    for (line, piece) in pieces(text) {
        // A piece at a time: the parser's tree of thousands of peers takes many times their own room.
        let file: File = toml::from_str(piece).map_err(|error| syntax(line, piece, &error))?;
        for entry in file.peer {
            peers.push(check(entry)?);
        }
    }
    peers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = peers.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(PeerError::Twice { name: pair[0].name.to_string() });
    }
    let own = peers.iter().position(|peer| *peer.name == *own_name).map(|at| peers.remove(at));
    peers.shrink_to_fit();
    let set = PeerSet { peers, own_addresses: own.map(|own| own.addresses.into_vec()).unwrap_or_default() };
    refuse_shared_addresses(&set)?;
    refuse_overlaps(&set, own_ranges)?;
    Ok(set)
}

fn check(entry: Entry) -> Result<Peer, PeerError> {
    let Entry { name, addresses, pod_cidrs } = entry;
    if name.is_empty() || name.len() > MAX_NAME || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(PeerError::Name { name });
    }
    let address = |text: &String| match text.parse::<IpAddr>() {
        Ok(address) if reaches_a_node(address) => Ok(address),
        _ => Err(PeerError::Address { name: name.clone(), text: text.clone() }),
    };
    let mut addresses = addresses.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(PeerError::NoAddress { name });
    }
    // The order of each family stays: the first is the one to use.
    addresses.sort_by_key(IpAddr::is_ipv6);
    let ranges: Result<Vec<_>, CidrError> = pod_cidrs.iter().map(|text| parse_network(text)).collect();
    match ranges {
        Ok(ranges) => Ok(Peer { name: name.into(), addresses: addresses.into(), pod_cidrs: ranges.into() }),
        Err(source) => Err(PeerError::Range { name, source }),
    }
}

/// Whether a packet to it can leave a node: not loopback, link-local, multicast or the like.
pub(crate) fn reaches_a_node(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(special || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

fn refuse_shared_addresses(set: &PeerSet) -> Result<(), PeerError> {
    let mut holders: HashMap<IpAddr, &str> = HashMap::with_capacity(set.peers.len());
    for address in &set.own_addresses {
        holders.insert(*address, "this node");
    }
    for peer in &set.peers {
        for address in &peer.addresses {
            match holders.insert(*address, &peer.name) {
                Some(first) if *first != *peer.name => {
                    let second = peer.name.to_string();
                    return Err(PeerError::SharedAddress { address: *address, first: first.to_owned(), second });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn refuse_overlaps(set: &PeerSet, own_ranges: &[IpNet]) -> Result<(), PeerError> {
    let theirs = set.peers.iter().enumerate();
    let theirs = theirs.flat_map(|(at, peer)| peer.pod_cidrs.iter().map(move |range| (*range, Owner::Peer(at))));
    let own = own_ranges.iter().map(|range| (*range, Owner::Own));
    let name = |owner| match owner {
        Owner::Peer(at) => format!("peer {}", set.peers[at].name),
        Owner::Own => "this node".to_owned(),
    };
    let ranges = Ranges::distinct(theirs.chain(own).collect());
    let ranges = ranges.map_err(|[(range, owner), (other_range, other)]| match (owner, other) {
        (Owner::Peer(at), Owner::Own) | (Owner::Own, Owner::Peer(at)) if range == other_range => {
            PeerError::OwnRange { range, peer: set.peers[at].name.to_string() }
        }
        _ => PeerError::Overlap { range, owner: name(owner), other_range, other: name(other) },
    })?;
    // A tunnel to such an address would lead into itself.
    for peer in &set.peers {
        for address in &peer.addresses {
            if let Some((range, owner)) = ranges.holding(*address) {
                let peer = peer.name.to_string();
                return Err(PeerError::InPodRange { peer, address: *address, range, owner: name(owner) });
            }
        }
    }
    Ok(())
}

/// The text, cut before each `[[...]]`, with the number of lines before each piece.
fn pieces(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut line) = (text, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut end, mut lines) = (0, 0);
        for (at, one) in rest.split_inclusive('\n').enumerate() {
            if at > 0 && one.trim_start().starts_with("[[") {
                break;
            }
            end += one.len();
            lines += 1;
        }
        let (piece, others) = rest.split_at(end);
        let before = line;
        (rest, line) = (others, line + lines);
        Some((before, piece))
    })
}

fn syntax(before: usize, piece: &str, error: &toml::de::Error) -> PeerError {
    let passed = error.span().and_then(|span| piece.get(..span.start)).unwrap_or_default();
    let problem = error.message().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    PeerError::Syntax { line: before + passed.matches('\n').count() + 1, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PeerSet, PeerError> {
        parse(text, "n1", &["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()])
    }

    fn peer(name: &str, addresses: &str, ranges: &str) -> String {
        format!("[[peer]]\nname = '{name}'\naddresses = [{addresses}]\npod-cidrs = [{ranges}]\n")
    }

    #[test]
    fn peers_come_by_name_and_without_this_node() {
        let text = peer("n3", "'2001:db8::13', '192.0.2.13'", "'10.244.3.0/24'")
            + &peer("n1", "'192.0.2.11'", "'10.244.1.0/24'")
            + &peer("n2", "'192.0.2.12'", "");
        let set = read(&text).unwrap();
        assert_eq!(set.peers.iter().map(|peer| &*peer.name).collect::<Vec<_>>(), ["n2", "n3"]);
        assert_eq!(set.own_addresses, ["192.0.2.11".parse::<IpAddr>().unwrap()]);
        assert!(set.peers[1].addresses[0].is_ipv4(), "IPv4 first");
        assert_eq!(read("").unwrap(), PeerSet::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = peer("n2", "'192.0.2.12'", "'10.244.2.0/24'");
        for (text, parts) in [
            ("[[peer]\n".to_owned(), vec!["line 1"]),
            (good.clone() + "\n  [[ peer ]]\nname = 7\n", vec!["line 7", "string"]),
            ("nodes = []\n".to_owned() + &good, vec!["line 1", "nodes", "peer"]),
            (good.clone() + "[[nodes]]\n", vec!["line 5", "nodes", "peer"]),
            ("\n[[peer]]\nname = 'a'\naddress = []\n".to_owned(), vec!["line 4", "address", "addresses"]),
            ("[[peer]]\naddresses = ['192.0.2.1']\n".to_owned(), vec!["line 1", "name"]),
            (good.clone() + &good, vec!["n2", "twice"]),
            (peer("a b", "'192.0.2.1'", ""), vec!["a b", "white space"]),
            (peer("n9", "", ""), vec!["n9", "addresses"]),
            (peer("n9", "'192.0.2'", ""), vec!["n9", "192.0.2"]),
            (peer("n9", "'127.0.0.1'", ""), vec!["n9", "127.0.0.1"]),
            (peer("n9", "'fe80::1'", ""), vec!["n9", "fe80::1"]),
            (peer("n9", "'::ffff:192.0.2.1'", ""), vec!["n9", "::ffff:192.0.2.1"]),
            (good.clone() + &peer("n9", "'192.0.2.12'", ""), vec!["n2", "n9", "192.0.2.12"]),
            (peer("n9", "'192.0.2.9'", "'10.244.9.1/24'"), vec!["n9", "10.244.9.0/24"]),
            (peer("n9", "'192.0.2.9'", "'0.0.0.0/0'"), vec!["n9", "0.0.0.0/0"]),
            (
                good.clone() + &peer("n9", "'192.0.2.9'", "'10.244.2.128/25'"),
                vec!["n2", "n9", "10.244.2.0/24", "10.244.2.128/25"],
            ),
            (peer("n9", "'192.0.2.9'", "'10.244.0.0/16'"), vec!["n9", "this node", "10.244.0.0/16", "10.244.1.0/24"]),
            (peer("n9", "'192.0.2.9'", "'10.244.1.0/24'"), vec!["n9", "10.244.1.0/24", "node-name"]),
            (peer("n9", "'192.0.2.9'", "'10.9.0.0/16', '10.9.9.0/24'"), vec!["n9", "10.9.0.0/16", "10.9.9.0/24"]),
            (good + &peer("n9", "'10.244.2.9'", ""), vec!["n9", "10.244.2.9", "n2", "10.244.2.0/24"]),
        ] {
            let error = crate::text::chain(&read(&text).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
