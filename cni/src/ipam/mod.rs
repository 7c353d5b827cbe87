//! Who chooses a pod's addresses, and what follows from them for its interface.

pub(crate) mod delegate;
#[cfg(test)]
pub(crate) mod fake_plugin;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::link::gateway;
use crate::spec::result::{AddResult, Dns, Route};

/// What an interface is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Addresses, IPv4 first.
    pub(crate) addresses: Vec<IpNet>,
    /// Routes, each through the gateway of its family.
    pub(crate) routes: Vec<Route>,
    /// Resolver settings of the plugin that chose.
    pub(crate) dns: Dns,
}

impl Assignment {
    /// Addresses of the agent's pools: hosts of their own, everything else behind the gateway.
    pub(crate) fn of_lease(addresses: &[IpAddr]) -> Self {
        let addresses = addresses.iter().copied().map(IpNet::from).collect();
        Self::complete(addresses, &[], Dns::default())
    }

    /// Addresses of another plugin: they keep their prefix and its routes their destination, but everything goes
    /// through the gateway, other hosts of the prefix included.
    pub(crate) fn of_delegate(result: AddResult) -> Self {
        let addresses = result.ips.iter().map(|ip| ip.address).collect();
        Self::complete(addresses, &result.routes, result.dns)
    }

    fn complete(mut addresses: Vec<IpNet>, given: &[Route], dns: Dns) -> Self {
        addresses.sort_by_key(|address| address.addr().is_ipv6());
        let mut routes = Vec::new();
        for everything in [IpNet::from(Ipv4Net::default()), Ipv6Net::default().into()] {
            let of_family = |address: IpAddr| address.is_ipv4() == everything.addr().is_ipv4();
            let mut own = addresses.iter().filter(|address| of_family(address.addr())).peekable();
            // Routes of a family that the pod has no address of lead nowhere.
            if own.peek().is_none() {
                continue;
            }
            let subnets = own.filter(|address| address.prefix_len() < address.max_prefix_len());
            subnets.for_each(|subnet| add(&mut routes, Route::to(*subnet)));
            let mut given = given.iter().filter(|route| of_family(route.dst.addr())).peekable();
            if given.peek().is_none() {
                add(&mut routes, Route::to(everything));
            }
            given.for_each(|route| add(&mut routes, *route));
        }
        Self { addresses, routes, dns }
    }

    /// Whether there is an IPv6 address.
    pub(crate) fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|address| address.addr().is_ipv6())
    }
}

/// Adds a route through our gateway, unless there is such a route already.
fn add(routes: &mut Vec<Route>, route: Route) {
    let route = Route { dst: route.dst.trunc(), gw: Some(gateway(route.dst.addr())), scope: None, ..route };
    let same = |other: &Route| (other.dst, other.table, other.priority) == (route.dst, route.table, route.priority);
    if !routes.iter().any(same) {
        routes.push(route);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::version::Version;

    fn texts(assignment: &Assignment) -> (Vec<String>, Vec<String>) {
        let route = |route: &Route| format!("{} via {}", route.dst, route.gw.unwrap());
        (assignment.addresses.iter().map(ToString::to_string).collect(), assignment.routes.iter().map(route).collect())
    }

    fn delegated(value: serde_json::Value) -> Assignment {
        Assignment::of_delegate(AddResult::decode(value, Version::V1_1_0).unwrap().0)
    }

    #[test]
    fn a_lease_is_hosts_and_default_routes() {
        let lease = Assignment::of_lease(&["10.1.0.5".parse().unwrap(), "fd00::5".parse().unwrap()]);
        let (addresses, routes) = texts(&lease);
        assert_eq!(addresses, ["10.1.0.5/32", "fd00::5/128"]);
        assert_eq!(routes, ["0.0.0.0/0 via 169.254.1.1", "::/0 via fe80::1"]);
        assert!(lease.has_ipv6());
    }

    #[test]
    fn one_family_has_no_routes_of_the_other() {
        let (_, routes) = texts(&Assignment::of_lease(&["fd00::5".parse().unwrap()]));
        assert_eq!(routes, ["::/0 via fe80::1"]);
    }

    #[test]
    fn a_delegates_prefixes_and_routes_are_kept_and_go_through_the_gateway() {
        let (addresses, routes) = texts(&delegated(json!({
            "ips": [{"address": "fd00::5/64"}, {"address": "10.1.0.5/24", "gateway": "10.1.0.1"}],
            "routes": [{"dst": "10.9.0.1/16", "gw": "10.1.0.2"}, {"dst": "10.1.0.0/24"}],
        })));
        assert_eq!(addresses, ["10.1.0.5/24", "fd00::5/64"]);
        assert_eq!(
            routes,
            ["10.1.0.0/24 via 169.254.1.1", "10.9.0.0/16 via 169.254.1.1", "fd00::/64 via fe80::1", "::/0 via fe80::1",]
        );
    }

    #[test]
    fn attributes_of_routes_are_kept() {
        let assignment = delegated(json!({
            "ips": [{"address": "10.1.0.5/32"}],
            "routes": [{"dst": "0.0.0.0/0", "mtu": 1400, "priority": 5}, {"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        }));
        assert_eq!(assignment.routes.len(), 2);
        assert_eq!((assignment.routes[0].mtu, assignment.routes[0].priority), (Some(1400), Some(5)));
    }
}
