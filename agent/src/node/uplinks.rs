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
mod tests;
