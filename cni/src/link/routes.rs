//! Routes of the pod: everything goes through a link-local gateway, which is the host end of the veth.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::link::netlink::Request;
use crate::spec::result::Route;

/// Every pod's IPv4 gateway.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Every pod's IPv6 gateway.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The gateway of the address's family.
pub fn gateway(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { GATEWAY_V4.into() } else { GATEWAY_V6.into() }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// A route to the gateway itself, which lies on the link.
pub(super) fn to_gateway(ifindex: u32, gateway: IpAddr) -> Request {
    let mut message = message(ifindex, IpNet::from(gateway));
    message.header.scope = RouteScope::Link;
    add(message)
}

/// A route through its gateway, in its own table or, if it names none, in `table`.
pub(super) fn via(ifindex: u32, route: &Route, table: Option<u32>) -> Request {
    let mut message = message(ifindex, route.dst);
    // The gateway may be on the link only by our word: another interface of the pod may have the route to it.
    message.header.flags = RouteFlags::Onlink;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Gateway(gateway(route.dst.addr()).into()));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    attributes.extend(route.table.or(table).map(RouteAttribute::Table));
    let mtu = route.mtu.map(RouteMetric::Mtu);
    let metrics: Vec<_> = mtu.into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    add(message)
}

/// A rule that sends what comes from `address` to `table`.
pub(super) fn rule_from(address: IpAddr, table: u32) -> Request {
    let net = IpNet::from(address);
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: family(address),
        src_len: net.prefix_len(),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    message.attributes = vec![RuleAttribute::Source(address), RuleAttribute::Table(table)];
    Request::new("adding a rule", RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL)
}

fn message(ifindex: u32, dst: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(dst.addr()),
        destination_prefix_length: dst.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Destination(dst.network().into()), RouteAttribute::Oif(ifindex)];
    message
}

fn add(message: RouteMessage) -> Request {
    Request::new("adding route", RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}
