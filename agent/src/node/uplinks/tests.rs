//! Uplinks out of tables.

use super::*;
use crate::node::tables::DefaultRoute;

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
            link(11, "weft0-peer"),
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
