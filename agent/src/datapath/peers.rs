//! `peers` and `masq_exempt`: where other nodes' pods live, and who sees pods by their own addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weft_abi::{Addr, MASQ_EXEMPT_MAX, PEERS_MAX, Peer, PeerFlags, Plain, Prefix, map};

use super::maps::{full_or, of};
use super::plain::Table;
use super::{Datapath, DatapathError};

/// A pod range and where its pods live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRange {
    /// The range; host bits are ignored.
    pub range: IpNet,
    /// Where.
    pub home: Home,
}

/// Where the pods of a range live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// On this node.
    Local,
    /// On another one.
    Node {
        /// Its address: the tunnel's far end, and the only one that may send for the range.
        address: IpAddr,
        /// The way there; none where the network itself routes to the range.
        tunnel: Option<Tunnel>,
    },
    /// Nowhere: only the node's stack knows the way there.
    Stack,
}

/// A way through the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Interface index of the overlay device.
    pub device: u32,
    /// Number of the virtual network, 24 bits.
    pub vni: u32,
    /// Largest packet that fits the device, in bytes from its IP header on.
    pub mtu: u32,
}

impl Datapath {
    /// Makes these the pod ranges that the programs know, this node's own among them; how many entries changed, nodes'
    /// own addresses among them. What stays as it is is not touched.
    ///
    /// # Errors
    /// The map has no room for all of them, or cannot be read or written.
    pub fn set_peers(&self, ranges: &[PeerRange]) -> Result<usize, DatapathError> {
        replace(&self.maps.peers, map::PEERS, PEERS_MAX, &entries(ranges))
    }

    /// What the programs know that only the node's stack knows the way to.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn stack_ranges(&self) -> Result<Vec<IpNet>, DatapathError> {
        let all = self.maps.peers.all().map_err(of("iterate", map::PEERS))?;
        let stack = all.into_iter().filter(|(_, peer)| peer.flags & PeerFlags::STACK != 0);
        Ok(stack.filter_map(|(prefix, _)| network(prefix)).collect())
    }

    /// Makes these the destinations that see pods by their own addresses; how many entries changed.
    ///
    /// # Errors
    /// As of [`Datapath::set_peers`].
    pub fn set_exempt(&self, ranges: &[IpNet]) -> Result<usize, DatapathError> {
        let wanted = ranges.iter().map(|range| (prefix(*range), 0)).collect();
        replace(&self.maps.masq_exempt, map::MASQ_EXEMPT, MASQ_EXEMPT_MAX, &wanted)
    }
}

/// Writes what is new or differs, then removes what is too much: nobody is without an entry in between.
fn replace<V: Plain + PartialEq>(
    table: &Table<Prefix, V>,
    name: &'static str,
    room: u32,
    wanted: &HashMap<Prefix, V>,
) -> Result<usize, DatapathError> {
    let found: HashMap<Prefix, V> = table.all().map_err(of("iterate", name))?.into_iter().collect();
    let differ = |(prefix, value): &(&Prefix, &V)| found.get(prefix) != Some(value);
    let new: Vec<(Prefix, V)> = wanted.iter().filter(differ).map(|(prefix, value)| (*prefix, *value)).collect();
    let old: Vec<Prefix> = found.into_keys().filter(|prefix| !wanted.contains_key(prefix)).collect();
    table.put_all(&new).map_err(full_or(name, room))?;
    table.delete_all(&old).map_err(of("delete", name))?;
    Ok(new.len() + old.len())
}

fn prefix(range: IpNet) -> Prefix {
    let width = if range.addr().is_ipv4() { 32 } else { Prefix::FULL };
    Prefix { bits: Prefix::FULL - width + u32::from(range.prefix_len()), addr: range.network().into() }
}

/// The network of a prefix that [`prefix`] made.
fn network(prefix: Prefix) -> Option<IpNet> {
    let address = IpAddr::from(prefix.addr);
    let width = if address.is_ipv4() { 32 } else { Prefix::FULL };
    let bits = (prefix.bits + width).checked_sub(Prefix::FULL)?;
    IpNet::new(address, u8::try_from(bits).ok()?).ok()
}

/// What the map is to have.
fn entries(ranges: &[PeerRange]) -> HashMap<Prefix, Peer> {
    // In this order: a range of one address is more than a node's.
    let mut entries: HashMap<_, _> = ranges.iter().filter_map(|peer| node(peer.home)).collect();
    for peer in ranges {
        let (prefix, value) = (prefix(peer.range), value(peer.home));
        match entries.get_mut(&prefix) {
            // Services have addresses of nodes, and those stay nodes'.
            Some(node) if peer.home == Home::Stack => node.flags |= PeerFlags::STACK,
            _ => drop(entries.insert(prefix, value)),
        }
    }
    entries
}

fn value(home: Home) -> Peer {
    match home {
        Home::Local => Peer { flags: PeerFlags::LOCAL, ..Peer::default() },
        Home::Stack => Peer { flags: PeerFlags::STACK, ..Peer::default() },
        Home::Node { address, tunnel } => Peer {
            node: Addr::from(address),
            device: tunnel.map_or(0, |tunnel| tunnel.device),
            vni: tunnel.map_or(0, |tunnel| tunnel.vni),
            mtu: tunnel.map_or(0, |tunnel| tunnel.mtu),
            flags: 0,
        },
    }
}

/// The entry by which the programs know that the other end of a tunnel is a peer, whatever it sends.
fn node(home: Home) -> Option<(Prefix, Peer)> {
    match home {
        Home::Node { address, tunnel: Some(_) } => {
            let node = Addr::from(address);
            Some((Prefix::host(node), Peer { node, flags: PeerFlags::NODE, ..Peer::default() }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_counts_from_the_mapped_address() {
        let v4 = prefix("10.244.2.7/24".parse().unwrap());
        assert_eq!((v4.bits, IpAddr::from(v4.addr)), (120, "10.244.2.0".parse().unwrap()));
        let v6 = prefix("fd00:10::5/64".parse().unwrap());
        assert_eq!((v6.bits, IpAddr::from(v6.addr)), (64, "fd00:10::".parse().unwrap()));
        assert_eq!(prefix("0.0.0.0/0".parse().unwrap()).bits, 96);
    }

    #[test]
    fn a_home_says_the_way() {
        assert_eq!(value(Home::Local), Peer { flags: PeerFlags::LOCAL, ..Peer::default() });
        let address: IpAddr = "192.0.2.12".parse().unwrap();
        assert_eq!(node(Home::Node { address, tunnel: None }), None);
        let native = value(Home::Node { address, tunnel: None });
        assert_eq!((IpAddr::from(native.node), native.device, native.vni, native.flags), (address, 0, 0, 0));
        let overlay = value(Home::Node { address, tunnel: Some(Tunnel { device: 7, vni: 42, mtu: 1450 }) });
        assert_eq!((overlay.device, overlay.vni, overlay.mtu), (7, 42, 1450));
        assert_eq!(value(Home::Stack), Peer { flags: PeerFlags::STACK, ..Peer::default() });
    }

    #[test]
    fn a_service_may_have_the_address_of_a_node() {
        let address: IpAddr = "192.0.2.12".parse().unwrap();
        let tunnel = Some(Tunnel { device: 7, vni: 42, mtu: 1450 });
        let range = |text: &str, home| PeerRange { range: text.parse().unwrap(), home };
        let made = entries(&[
            range("10.244.2.0/24", Home::Node { address, tunnel }),
            range("192.0.2.12/32", Home::Stack),
            range("10.96.0.1/32", Home::Stack),
        ]);
        let flags = |text: &str| made[&prefix(text.parse().unwrap())].flags;
        assert_eq!(flags("192.0.2.12/32"), PeerFlags::NODE | PeerFlags::STACK);
        assert_eq!((flags("10.96.0.1/32"), flags("10.244.2.0/24"), made.len()), (PeerFlags::STACK, 0, 3));
    }

    #[test]
    fn a_prefix_is_read_as_it_was_written() {
        for text in ["0.0.0.0/0", "::/0", "10.96.0.1/32", "fd00:96::1/128", "10.96.0.0/12"] {
            let range: IpNet = text.parse().unwrap();
            assert_eq!(network(prefix(range)), Some(range), "{text}");
        }
    }
}
