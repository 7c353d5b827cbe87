//! Which devices lead off the node, and the addresses that pods' packets leave by them with.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::AddressFlags;

use super::links::Link;
use super::tables::{Address, Tables};

/// A device that leads off the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// IPv4 address that packets leave with.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address that packets leave with.
    pub v6: Option<Ipv6Addr>,
}

/// How uplinks are to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Names, or beginnings with `*`; empty for those that the routes tell of.
    pub devices: Vec<String>,
    /// The node's addresses as others know them; empty if nobody said.
    pub node_ip: Vec<IpAddr>,
}

/// The uplinks, by their index, and what is odd about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplinks {
    /// By index.
    pub all: Vec<Uplink>,
    /// A sentence each.
    pub warnings: Vec<String>,
}

/// Finds the uplinks. `towards_peers` are the devices by which other nodes are reached.
///
/// What was one `before` stays one while it is down or has an address: its routes come back with its carrier, and
/// until the programs were back as well pods' packets would leave with pods' addresses.
///
/// A bond, bridge or VLAN device that carries a route counts by itself; what is below it does not, unless it carries
/// one too or was named.
pub(super) fn find(
    tables: &Tables,
    group: u32,
    search: &Search,
    towards_peers: &HashSet<u32>,
    before: &HashSet<u32>,
) -> Uplinks {
    let mut found = Uplinks::default();
    let chosen: Vec<&Link> = if search.devices.is_empty() {
        let led: BTreeSet<u32> = tables
            .defaults
            .iter()
            .map(|route| route.device)
            .chain(towards_peers.iter().copied())
            .chain(tables.addresses.iter().filter(|a| search.node_ip.contains(&a.ip)).map(|a| a.device))
            .collect();
        let stays = |link: &Link| {
            let has_address = || tables.addresses.iter().any(|a| a.device == link.index && a.global);
            before.contains(&link.index) && (!link.up || has_address())
        };
        tables.links.iter().filter(|link| led.contains(&link.index) || stays(link)).collect()
    } else {
        for name in search.devices.iter().filter(|name| !tables.links.iter().any(|link| is_called(link, name))) {
            found.warnings.push(format!("devices: no device is called {name:?}: correct the name, or make the device"));
        }
        tables.links.iter().filter(|link| search.devices.iter().any(|name| is_called(link, name))).collect()
    };
    for link in chosen.into_iter().filter(|link| !link.loopback && !link.is_ours(group)) {
        if link.ethernet {
            found.all.push(Uplink {
                name: link.name.clone(),
                index: link.index,
                mtu: link.mtu,
                up: link.up,
                v4: v4(tables, search, link.index),
                v6: v6(tables, search, link.index),
            });
        } else {
            let name = &link.name;
            found.warnings.push(format!("device {name} is no Ethernet device: pods do not get out by it"));
        }
    }
    found.all.sort_unstable_by_key(|uplink| uplink.index);
    found
}

impl Uplinks {
    /// The smallest MTU of them, in bytes; also of those that are down, which may come back.
    pub fn mtu(&self) -> Option<u32> {
        self.all.iter().map(|uplink| uplink.mtu).min()
    }

    /// The uplink with that index.
    pub fn get(&self, index: u32) -> Option<&Uplink> {
        self.all.iter().find(|uplink| uplink.index == index)
    }
}

/// A beginning does not mean the ports of a bond or bridge, which often have such names.
fn is_called(link: &Link, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => link.name.starts_with(beginning) && link.master.is_none(),
        None => link.name == name,
    }
}

fn v4(tables: &Tables, search: &Search, device: u32) -> Option<Ipv4Addr> {
    let primary = tables.addresses.iter().find(|address| {
        address.device == device
            && address.ip.is_ipv4()
            && address.global
            && !address.flags.contains(AddressFlags::Secondary)
    });
    match preferred(tables, search, device, true).or(primary.map(|address| address.ip))? {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn v6(tables: &Tables, search: &Search, device: u32) -> Option<Ipv6Addr> {
    // The flag of secondary addresses is that of temporary ones (`linux/if_addr.h`).
    let unfit = AddressFlags::Secondary | AddressFlags::Deprecated | AddressFlags::Tentative | AddressFlags::Dadfailed;
    let fit = |address: &&Address| {
        address.device == device && address.ip.is_ipv6() && address.global && !address.flags.intersects(unfit)
    };
    // Deterministic, so that a renewed lease changes nothing: no unique local one, one that stays, the lowest.
    let best = tables.addresses.iter().filter(fit).min_by_key(|address| {
        let local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unique_local());
        (local, !address.flags.contains(AddressFlags::Permanent), address.ip)
    });
    match preferred(tables, search, device, false).or(best.map(|address| address.ip))? {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// What somebody decided: the configuration for this device, else the device's default route.
fn preferred(tables: &Tables, search: &Search, device: u32, v4: bool) -> Option<IpAddr> {
    let on_device =
        |ip: &&IpAddr| tables.addresses.iter().any(|address| address.device == device && address.ip == **ip);
    let configured = search.node_ip.iter().filter(|ip| ip.is_ipv4() == v4).find(on_device);
    let mut routes: Vec<_> = tables.defaults.iter().filter(|route| route.device == device && route.v4 == v4).collect();
    routes.sort_by_key(|route| route.metric);
    let source = routes.iter().find_map(|route| route.source);
    // It may be on another device: many keep the node's address on the loopback.
    configured.copied().or(source.filter(|ip| tables.addresses.iter().any(|address| address.ip == *ip)))
}

#[cfg(test)]
mod tests {
    use super::super::tables::DefaultRoute;
    use super::*;

    const GROUP: u32 = 0x5700_0002;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), mtu: 1500, up: true, ethernet: true, ..Link::default() }
    }

    fn address(device: u32, ip: &str) -> Address {
        let flags = AddressFlags::Permanent;
        Address { ip: ip.parse().unwrap(), device, global: true, flags }
    }

    fn default(device: u32, metric: u32, source: Option<&str>) -> DefaultRoute {
        DefaultRoute { device, metric, v4: true, source: source.map(|ip| ip.parse().unwrap()) }
    }

    fn names(tables: &Tables, search: &Search, towards: &[u32]) -> Vec<String> {
        let found = find(tables, GROUP, search, &towards.iter().copied().collect(), &HashSet::new());
        found.all.into_iter().map(|uplink| uplink.name).collect()
    }

    fn named(devices: &[&str]) -> Search {
        Search { devices: devices.iter().map(ToString::to_string).collect(), node_ip: Vec::new() }
    }

    /// A node with a bond over two ports, a VLAN on it, a second uplink, and pods.
    fn node() -> Tables {
        let port = |index, name| Link { master: Some(4), ..link(index, name) };
        let ours = |index, name| Link { group: GROUP, ..link(index, name) };
        let loopback = Link { loopback: true, ethernet: false, ..link(1, "lo") };
        Tables {
            links: vec![
                loopback,
                port(2, "eth0"),
                port(3, "eth1"),
                link(4, "bond0"),
                Link { mtu: 1400, ..link(5, "bond0.7") },
                link(6, "eth2"),
                ours(7, "weft0"),
                ours(8, "weft-vx"),
                ours(9, "weft0123456789a"),
                Link { ethernet: false, ..link(10, "wg0") },
            ],
            addresses: vec![
                address(1, "10.255.0.1"),
                address(4, "192.0.2.1"),
                address(5, "198.51.100.1"),
                address(6, "203.0.113.1"),
            ],
            defaults: vec![default(5, 100, None), default(6, 200, None)],
        }
    }

    #[test]
    fn routes_tell_the_uplinks() {
        let tables = node();
        assert_eq!(names(&tables, &Search::default(), &[]), ["bond0.7", "eth2"]);
        assert_eq!(names(&tables, &Search::default(), &[4, 8, 9, 1]), ["bond0", "bond0.7", "eth2"]);
        let search = Search { node_ip: vec!["192.0.2.1".parse().unwrap()], ..Search::default() };
        assert_eq!(names(&tables, &search, &[]), ["bond0", "bond0.7", "eth2"]);
        let found = find(&tables, GROUP, &Search::default(), &HashSet::new(), &HashSet::new());
        assert_eq!(found.mtu(), Some(1400));
        let found = find(&tables, GROUP, &Search::default(), &HashSet::from([10]), &HashSet::new());
        assert!(found.warnings[0].contains("wg0"), "{:?}", found.warnings);
    }

    #[test]
    fn a_flap_takes_no_uplink_away() {
        let mut tables = node();
        let before = find(&tables, GROUP, &Search::default(), &HashSet::new(), &HashSet::new());
        let before = before.all.iter().map(|uplink| uplink.index).collect();
        let again = |tables: &Tables| {
            let found = find(tables, GROUP, &Search::default(), &HashSet::new(), &before);
            found.all.into_iter().map(|uplink| uplink.name).collect::<Vec<_>>()
        };
        tables.defaults.clear();
        assert_eq!(again(&tables), ["bond0.7", "eth2"], "their addresses are there");
        tables.addresses.clear();
        assert!(again(&tables).is_empty());
        tables.links.iter_mut().for_each(|link| link.up = link.name != "eth2");
        assert_eq!(again(&tables), ["eth2"]);
        tables.links.retain(|link| link.name != "eth2");
        assert!(again(&tables).is_empty());
    }

    #[test]
    fn names_and_beginnings() {
        let tables = node();
        assert_eq!(names(&tables, &named(&["eth*"]), &[]), ["eth2"], "ports are not meant");
        assert_eq!(names(&tables, &named(&["eth1", "bond*"]), &[]), ["eth1", "bond0", "bond0.7"]);
        assert_eq!(names(&tables, &named(&["*"]), &[]), ["bond0", "bond0.7", "eth2"]);
        let found = find(&tables, GROUP, &named(&["eth9"]), &HashSet::new(), &HashSet::new());
        assert!(found.all.is_empty() && found.warnings[0].contains("eth9"));
    }

    fn addresses(tables: &Tables, search: &Search) -> (Option<String>, Option<String>) {
        let uplink = find(tables, GROUP, search, &HashSet::new(), &HashSet::new()).all.remove(0);
        (uplink.v4.map(|ip| ip.to_string()), uplink.v6.map(|ip| ip.to_string()))
    }

    #[test]
    fn the_primary_address_leaves_unless_somebody_decided() {
        let secondary = Address { flags: AddressFlags::Secondary, ..address(6, "203.0.113.0") };
        let local = Address { global: false, ..address(6, "169.254.0.9") };
        let mut tables = Tables {
            links: vec![link(6, "eth2")],
            addresses: vec![local, secondary, address(6, "203.0.113.1"), address(6, "203.0.113.2")],
            defaults: vec![default(6, 0, None)],
        };
        let v4 = |tables: &Tables, search: &Search| addresses(tables, search).0.unwrap();
        assert_eq!(v4(&tables, &Search::default()), "203.0.113.1");
        tables.defaults = vec![default(6, 5, Some("203.0.113.2")), default(6, 9, Some("203.0.113.1"))];
        assert_eq!(v4(&tables, &Search::default()), "203.0.113.2");
        tables.defaults = vec![default(6, 5, Some("203.0.113.77"))];
        assert_eq!(v4(&tables, &Search::default()), "203.0.113.1", "that address is gone");
        let search = Search { node_ip: vec!["203.0.113.2".parse().unwrap()], ..Search::default() };
        assert_eq!(v4(&tables, &search), "203.0.113.2");
        tables.addresses.clear();
        assert_eq!(addresses(&tables, &search), (None, None));
    }

    #[test]
    fn an_ipv6_address_that_lasts_leaves() {
        let with = |flags, ip| Address { flags, ..address(6, ip) };
        let stays = AddressFlags::Permanent;
        let mut tables = Tables {
            links: vec![link(6, "eth2")],
            addresses: vec![
                with(AddressFlags::Secondary, "2001:db8::1"),
                with(stays | AddressFlags::Deprecated, "2001:db8::2"),
                with(stays | AddressFlags::Tentative, "2001:db8::3"),
                with(stays, "fd00::1"),
                Address { global: false, ..address(6, "fe80::1") },
            ],
            defaults: vec![default(6, 0, None)],
        };
        assert_eq!(addresses(&tables, &Search::default()).1.unwrap(), "fd00::1");
        tables.addresses.extend([with(AddressFlags::empty(), "2001:db8::4"), with(stays, "2001:db8::5")]);
        assert_eq!(addresses(&tables, &Search::default()).1.unwrap(), "2001:db8::5");
    }
}
