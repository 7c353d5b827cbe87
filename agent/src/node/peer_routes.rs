//! Routes of the node's own stack to other nodes' pods: through the overlay, or to a node of the same link.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteIp6Tunnel, RouteIp6TunnelFlags, RouteIpTunnel, RouteLwEnCapType,
    RouteLwTunnelEncap, RouteMessage, RouteScope, RouteType, RouteVia,
};
use nix::errno::Errno;

use super::NodeError;
use super::error::{failed, is, unless_gone};
use super::netlink::{Request, Socket};
use super::routes::{self, destination, message, oif};

/// How a packet of the node gets to a pod range of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRoute {
    /// In the overlay's packets.
    Tunnel {
        /// Interface index of the overlay device.
        device: u32,
        /// Number of the virtual network.
        vni: u32,
        /// The other node.
        node: IpAddr,
        /// This node, as the other knows it; `None` leaves it to the kernel.
        local: Option<IpAddr>,
        /// The node's own address towards pods.
        source: Option<IpAddr>,
    },
    /// By the other node itself.
    Gateway {
        /// Interface index of the uplink.
        device: u32,
        /// The other node, of the range's family.
        node: IpAddr,
    },
    /// Some way that this agent does not make any more.
    Other,
}

/// Routes by their ranges.
pub type PeerRoutes = BTreeMap<IpNet, PeerRoute>;

/// A range whose route could not be made or removed.
#[derive(Debug)]
pub struct RouteFailure {
    /// The range.
    pub range: IpNet,
    /// Why.
    pub error: NodeError,
}

/// The routes to other nodes' pods that this agent or an older one made.
pub(super) fn read(socket: &mut Socket) -> Result<PeerRoutes, NodeError> {
    Ok(routes::ours(socket, RouteType::Unicast, parse)?.into_iter().collect())
}

/// Goes from the routes that there are to those that are wanted, by differences; `there` says at the end what there
/// is. A range whose route fails does not hold up the others.
pub(super) fn apply(
    socket: &mut Socket,
    there: &mut PeerRoutes,
    wanted: &PeerRoutes,
) -> Result<Vec<RouteFailure>, NodeError> {
    let mut steps: Vec<(IpNet, Option<PeerRoute>)> = Vec::new();
    for range in there.keys().filter(|range| !wanted.contains_key(range)) {
        steps.push((*range, None));
    }
    for (range, route) in wanted {
        if there.get(range) != Some(route) {
            steps.push((*range, Some(*route)));
        }
    }
    let request = |(range, route): &(IpNet, Option<PeerRoute>)| -> Request {
        match route {
            None => (RouteNetlinkMessage::DelRoute(any_to(*range)), 0),
            Some(route) => {
                // Somebody else's route to that range is not ours to replace.
                let how = if there.contains_key(range) { NLM_F_REPLACE } else { NLM_F_EXCL };
                (RouteNetlinkMessage::NewRoute(to_peer(*range, route)), NLM_F_CREATE | how)
            }
        }
    };
    let answers = socket.apply_all(steps.iter().map(request)).map_err(failed("send", || "routes"))?;
    let mut failures = Vec::new();
    for ((range, route), answer) in steps.into_iter().zip(answers) {
        let answer = if route.is_none() { unless_gone(answer, Errno::ESRCH) } else { answer };
        match (answer, route) {
            (Ok(()), Some(route)) => drop(there.insert(range, route)),
            (Ok(()), None) => drop(there.remove(&range)),
            (Err(error), Some(_)) if is(&error, Errno::EEXIST) => {
                failures.push(RouteFailure { range, error: NodeError::RouteTaken { range } });
            }
            (Err(error), route) => {
                let call = if route.is_some() { "RTM_NEWROUTE" } else { "RTM_DELROUTE" };
                failures.push(RouteFailure { range, error: failed(call, || range.to_string())(error) });
            }
        }
    }
    Ok(failures)
}

fn to_peer(range: IpNet, route: &PeerRoute) -> RouteMessage {
    let mut message = message(range, RouteType::Unicast);
    match *route {
        PeerRoute::Tunnel { device, vni, node, local, source } => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(device));
            message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
            let (kind, tunnel) = encapsulation(vni, node, local);
            message.attributes.extend([RouteAttribute::EncapType(kind), RouteAttribute::Encap(tunnel)]);
        }
        PeerRoute::Gateway { device, node } => {
            message.attributes.extend([RouteAttribute::Oif(device), RouteAttribute::Gateway(node.into())]);
        }
        PeerRoute::Other => {}
    }
    message
}

/// Matches our route to the range, whatever it is like.
fn any_to(range: IpNet) -> RouteMessage {
    let mut message = message(range, RouteType::Unicast);
    message.header.scope = RouteScope::NoWhere;
    message
}

fn encapsulation(vni: u32, node: IpAddr, local: Option<IpAddr>) -> (RouteLwEnCapType, Vec<RouteLwTunnelEncap>) {
    let vni = u64::from(vni);
    match node {
        IpAddr::V4(node) => {
            let mut tunnel = vec![RouteIpTunnel::Id(vni), RouteIpTunnel::Destination(node)];
            if let Some(IpAddr::V4(local)) = local {
                tunnel.push(RouteIpTunnel::Source(local));
            }
            (RouteLwEnCapType::Ip, tunnel.into_iter().map(RouteLwTunnelEncap::Ip).collect())
        }
        IpAddr::V6(node) => {
            // Without it the outer checksum would be zero, which IPv6 forbids but for those who agreed on it.
            let flags = RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::Checksum);
            let mut tunnel = vec![RouteIp6Tunnel::Id(vni), RouteIp6Tunnel::Destination(node), flags];
            if let Some(IpAddr::V6(local)) = local {
                tunnel.push(RouteIp6Tunnel::Source(local));
            }
            (RouteLwEnCapType::Ip6, tunnel.into_iter().map(RouteLwTunnelEncap::Ip6).collect())
        }
    }
}

/// A route of ours that leads to another node; those to pods have neither tunnel nor gateway.
fn parse(route: RouteMessage) -> Option<(IpNet, PeerRoute)> {
    let range = destination(&route)?;
    let device = oif(&route);
    let (mut gateway, mut source, mut tunnel) = (None, None, None);
    for attribute in route.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => gateway = ip(&address).or(gateway),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some(address.into()),
            RouteAttribute::PrefSource(address) => source = ip(&address),
            RouteAttribute::Encap(attributes) => tunnel = Some(far_end(&attributes)),
            RouteAttribute::MultiPath(_) => return Some((range, PeerRoute::Other)),
            _ => {}
        }
    }
    let route = match (tunnel, gateway, device) {
        (Some(Some((vni, node, local))), None, Some(device)) => PeerRoute::Tunnel { device, vni, node, local, source },
        (None, Some(node), Some(device)) => PeerRoute::Gateway { device, node },
        (None, None, _) => return None,
        _ => PeerRoute::Other,
    };
    Some((range, route))
}

fn far_end(attributes: &[RouteLwTunnelEncap]) -> Option<(u32, IpAddr, Option<IpAddr>)> {
    let (mut vni, mut node, mut local) = (None, None, None);
    for attribute in attributes {
        match attribute {
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Id(id)) | RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Id(id)) => {
                vni = u32::try_from(*id).ok();
            }
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Destination(address)) => node = Some(IpAddr::V4(*address)),
            RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Destination(address)) => node = Some(IpAddr::V6(*address)),
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Source(address)) => local = Some(IpAddr::V4(*address)),
            RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Source(address)) => local = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }
    Some((vni?, node?, local.filter(|address| !address.is_unspecified())))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
