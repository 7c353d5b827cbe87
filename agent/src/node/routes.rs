//! Routes: to each pod, and to nowhere for the rest of the pools.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::errno::Errno;

use super::NodeError;
use super::addresses::{FAMILIES, family};
use super::error::{failed, is, is_unsupported, unless_gone};
use super::netlink::{Request, Socket};

/// Marks our routes, as zebra or bird mark theirs: `ip route show proto 87`.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(b'W');

/// Where `rtm_protocol` is in a route's message (rtnetlink(7)).
const PROTOCOL_AT: usize = 5;

/// Metric of the routes to nowhere: any other route to the same prefix wins.
const LAST: u32 = u32::MAX;

/// Whether the bytes behind the netlink header are those of a route of ours.
pub(super) fn is_ours(bytes: &[u8]) -> bool {
    bytes.get(PROTOCOL_AT) == Some(&u8::from(PROTOCOL))
}

/// A request that leads packets for the pod to its host end; the node's own come from `source`, if one is given.
pub(super) fn to_pod(address: IpAddr, device: u32, source: Option<IpAddr>) -> Request {
    let mut message = message(IpNet::from(address), RouteType::Unicast);
    message.header.scope = RouteScope::Link;
    message.attributes.push(RouteAttribute::Oif(device));
    message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Keeps packets for the pools' other addresses on the node; routes of pools that are no more go.
pub(super) fn set_unreachable(socket: &mut Socket, pools: &[IpNet]) -> Result<(), NodeError> {
    let there = unreachable(socket)?;
    for stale in there.iter().filter(|pool| !pools.contains(pool)) {
        delete_unreachable(socket, *stale)?;
    }
    for pool in pools.iter().filter(|pool| !there.contains(pool)) {
        let message = RouteNetlinkMessage::NewRoute(to_nowhere(*pool));
        socket
            .apply((message, NLM_F_CREATE | NLM_F_REPLACE))
            .map_err(failed("RTM_NEWROUTE", || format!("unreachable {pool}")))?;
    }
    Ok(())
}

/// Removes every route to nowhere of ours; those to pods go with their devices.
pub(super) fn remove_unreachable(socket: &mut Socket) -> Result<(), NodeError> {
    unreachable(socket)?.into_iter().try_for_each(|pool| delete_unreachable(socket, pool))
}

/// Compares the route that the kernel would take to a pod.
pub(super) fn verify(socket: &mut Socket, address: IpAddr, device: u32) -> Result<(), NodeError> {
    let object = || format!("route to {address}");
    let expected = IpNet::from(address).prefix_len();
    match look_up(socket, address, RouteFlags::FibMatch)? {
        Some(route) if route.header.destination_prefix_length < expected => {
            Err(NodeError::Missing { object: object() })
        }
        Some(route) if oif(&route) != Some(device) => Err(NodeError::Differs {
            object: object(),
            found: oif(&route).map_or_else(|| "without a device".to_owned(), |index| format!("by ifindex {index}")),
            expected: format!("by ifindex {device}"),
        }),
        Some(_) => Ok(()),
        None => Err(NodeError::Missing { object: object() }),
    }
}

fn look_up(socket: &mut Socket, address: IpAddr, flags: RouteFlags) -> Result<Option<RouteMessage>, NodeError> {
    found(socket.get(question(address, flags))).map_err(failed("RTM_GETROUTE", || address.to_string()))
}

/// Asks for the route that the kernel would take.
pub(super) fn question(address: IpAddr, flags: RouteFlags) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = IpNet::from(address).prefix_len();
    message.header.flags = flags;
    message.attributes.push(RouteAttribute::Destination(address.into()));
    RouteNetlinkMessage::GetRoute(message)
}

/// What the kernel answered to the [`question`].
pub(super) fn found(answer: io::Result<RouteNetlinkMessage>) -> io::Result<Option<RouteMessage>> {
    match answer {
        Ok(RouteNetlinkMessage::NewRoute(route)) => Ok(Some(route)),
        Ok(_) => Ok(None),
        // What no route, an unreachable, a prohibiting and a blackhole one are answered with, and a kernel without
        // the family.
        Err(error)
            if [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL]
                .iter()
                .any(|errno| is(&error, *errno))
                || is_unsupported(&error) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn unreachable(socket: &mut Socket) -> Result<Vec<IpNet>, NodeError> {
    ours(socket, RouteType::Unreachable, |route| destination(&route))
}

/// What is made of our routes of that kind.
pub(super) fn ours<T>(
    socket: &mut Socket,
    kind: RouteType,
    each: impl Fn(RouteMessage) -> Option<T>,
) -> Result<Vec<T>, NodeError> {
    let mut query = RouteMessage::default();
    query.header.protocol = PROTOCOL;
    query.header.kind = kind;
    query.header.table = RouteHeader::RT_TABLE_MAIN;
    // Both are asked of the kernel, and looked at again: it may not know the filter.
    let wanted = |_, bytes: &[u8]| is_ours(bytes);
    let each = |message| match message {
        RouteNetlinkMessage::NewRoute(route) if route.header.kind == kind => each(route),
        _ => None,
    };
    let mut routes = Vec::new();
    for family in FAMILIES {
        query.header.address_family = family;
        match socket.dump_as(&RouteNetlinkMessage::GetRoute(query.clone()), wanted, each) {
            Err(error) if is_unsupported(&error) => {}
            other => routes.extend(other.map_err(failed("RTM_GETROUTE", || "routes"))?),
        }
    }
    Ok(routes)
}

fn delete_unreachable(socket: &mut Socket, pool: IpNet) -> Result<(), NodeError> {
    unless_gone(socket.apply((RouteNetlinkMessage::DelRoute(to_nowhere(pool)), 0)), Errno::ESRCH)
        .map_err(failed("RTM_DELROUTE", || format!("unreachable {pool}")))
}

fn to_nowhere(pool: IpNet) -> RouteMessage {
    let mut message = message(pool, RouteType::Unreachable);
    message.attributes.push(RouteAttribute::Priority(LAST));
    message
}

pub(super) fn message(destination: IpNet, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = PROTOCOL;
    message.header.kind = kind;
    message.attributes.push(RouteAttribute::Destination(destination.network().into()));
    message
}

pub(super) fn destination(route: &RouteMessage) -> Option<IpNet> {
    let prefix_len = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => IpNet::new((*ip).into(), prefix_len).ok(),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => IpNet::new((*ip).into(), prefix_len).ok(),
        _ => None,
    })
}

pub(super) fn oif(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}
