//! The node's links, addresses and default routes, as far as they tell which devices lead off it.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType};

use super::NodeError;
use super::addresses::FAMILIES;
use super::error::{failed, is_unsupported};
use super::links::{self, Link};
use super::netlink::Socket;
use super::routes;

/// What the kernel has.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) defaults: Vec<DefaultRoute>,
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) device: u32,
    /// Valid everywhere, not on its link or node alone.
    pub(super) global: bool,
    pub(super) flags: AddressFlags,
}

/// One way out, of whatever table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    pub(super) device: u32,
    pub(super) metric: u32,
    pub(super) v4: bool,
    /// Preferred source.
    pub(super) source: Option<IpAddr>,
}

/// Where packets to another node go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Towards {
    /// Interface index.
    pub device: u32,
    /// Whether the node is on the device's own link.
    pub direct: bool,
}

/// Reads all of it.
pub(super) fn read(socket: &mut Socket) -> Result<Tables, NodeError> {
    let links = links::all(socket)?;
    let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let addresses = socket.dump_as(&query, |_, _| true, address).map_err(failed("RTM_GETADDR", || "addresses"))?;
    let mut defaults = Vec::new();
    for family in FAMILIES {
        let mut query = RouteMessage::default();
        query.header.address_family = family;
        // Of a full routing table only these few are read.
        let wanted = |_, bytes: &[u8]| {
            bytes.get(PREFIX_AT) == Some(&0) && bytes.get(KIND_AT) == Some(&u8::from(RouteType::Unicast))
        };
        match socket.dump_as(&RouteNetlinkMessage::GetRoute(query), wanted, default_routes) {
            Err(error) if is_unsupported(&error) => {}
            other => defaults.extend(other.map_err(failed("RTM_GETROUTE", || "routes"))?.into_iter().flatten()),
        }
    }
    Ok(Tables { links, addresses, defaults })
}

/// Asks the kernel for the way to each address; those without one, and the node's own, are left out.
pub(super) fn look_up(socket: &mut Socket, addresses: &[IpAddr]) -> Result<HashMap<IpAddr, Towards>, NodeError> {
    let questions = addresses.iter().map(|address| routes::question(*address, RouteFlags::empty()));
    let answers = socket
        .get_all(questions, |answer| routes::found(answer).map(|route| route.as_ref().and_then(way)))
        .map_err(failed("RTM_GETROUTE", || "peers"))?;
    let mut ways = HashMap::with_capacity(addresses.len());
    for (address, answer) in addresses.iter().zip(answers) {
        let answer = answer.map_err(failed("RTM_GETROUTE", || address.to_string()))?;
        ways.extend(answer.map(|way| (*address, way)));
    }
    Ok(ways)
}

fn way(route: &RouteMessage) -> Option<Towards> {
    let direct = !route.attributes.iter().any(|attribute| {
        matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::Encap(_))
    });
    let device = routes::oif(route).filter(|_| route.header.kind == RouteType::Unicast)?;
    Some(Towards { device, direct })
}

/// Where `rtm_dst_len` and `rtm_type` are in a route's message (rtnetlink(7)).
const PREFIX_AT: usize = 1;
const KIND_AT: usize = 7;

fn address(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let global = message.header.scope == AddressScope::Universe;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut remote) = (None, None);
    for attribute in message.attributes {
        match attribute {
            // On a point-to-point device IFA_ADDRESS is the peer's.
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => remote = Some(ip),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    let ip = local.or(remote)?;
    Some(Address { ip, device: message.header.index, global, flags })
}

fn default_routes(message: RouteNetlinkMessage) -> Option<Vec<DefaultRoute>> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let v4 = route.header.address_family == FAMILIES[0];
    let (mut devices, mut metric, mut source) = (Vec::new(), 0, None);
    for attribute in route.attributes {
        match attribute {
            RouteAttribute::Oif(device) => devices.push(device),
            RouteAttribute::MultiPath(hops) => devices.extend(hops.iter().map(|hop| hop.interface_index)),
            RouteAttribute::Priority(priority) => metric = priority,
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(ip.into()),
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip)) => source = Some(ip.into()),
            _ => {}
        }
    }
    Some(devices.into_iter().map(|device| DefaultRoute { device, metric, v4, source }).collect())
}
