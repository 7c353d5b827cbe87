//! Reads what the kernel has.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, address};
use nix::errno::Errno;

use crate::link::netlink::{Netlink, NetlinkError, Request};
use crate::link::routes::family;
use crate::mac::Mac;

/// A link as far as weft-cni looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
    pub(crate) group: u32,
    /// Kind, as `ip -d link` prints it; empty for a device that is hardware.
    pub(crate) kind: String,
    /// Index of the peer, in the peer's namespace.
    pub(crate) peer: Option<u32>,
    /// Number of the peer's namespace, if it is another.
    pub(crate) peer_netns: Option<i32>,
}

/// A route of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    pub(crate) dst: IpNet,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) ifindex: u32,
}

/// Asks for the link of that name.
pub(crate) fn get_by_name(name: &str) -> Request {
    get(LinkMessage::default(), vec![LinkAttribute::IfName(name.to_owned())])
}

/// Asks for the link of that index. The kernel brings a link's carrier and queues up to date before it answers
/// (since 6.8; an older one does so a moment later): what is sent from then on is not lost.
pub(crate) fn get_by_index(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    get(message, Vec::new())
}

/// The link of that name.
pub(crate) fn link_by_name(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, NetlinkError> {
    found(netlink, get_by_name(name))
}

/// The link of that index.
pub(crate) fn link_by_index(netlink: &mut Netlink, index: u32) -> Result<Option<Link>, NetlinkError> {
    found(netlink, get_by_index(index))
}

/// The first link among a batch's answers.
pub(crate) fn first_link(messages: Vec<RouteNetlinkMessage>) -> Option<Link> {
    messages.into_iter().find_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(Link::from(link)),
        _ => None,
    })
}

/// The number that the socket's namespace has for the one behind the descriptor; none if they do not know
/// each other.
pub(crate) fn namespace_id(netlink: &mut Netlink, netns: i32) -> Result<Option<i32>, NetlinkError> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(netns.cast_unsigned()));
    let request = Request::new("looking up the namespace's id", RouteNetlinkMessage::GetNsId(message), 0);
    let ids = netlink.batch(vec![request])?.complete()?.into_iter().find_map(|message| match message {
        RouteNetlinkMessage::NewNsId(nsid) => nsid.attributes.into_iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(id),
            _ => None,
        }),
        _ => None,
    });
    Ok(ids.filter(|id| *id >= 0))
}

/// Addresses of the interface.
pub(crate) fn addresses(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<IpNet>, NetlinkError> {
    let request = RouteNetlinkMessage::GetAddress(address::AddressMessage::default());
    let messages = netlink.dump("listing addresses", &request)?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == ifindex => net(&message),
            _ => None,
        })
        .collect())
}

/// Routes of every table, of both families.
pub(crate) fn routes(netlink: &mut Netlink) -> Result<Vec<KernelRoute>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let messages = netlink.dump("listing routes", &RouteNetlinkMessage::GetRoute(request))?;
        routes.extend(messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) if message.header.kind == RouteType::Unicast => route(&message),
            _ => None,
        }));
    }
    Ok(routes)
}

/// Addresses that the namespace does not yet take as its own. The kernel acknowledges a new IPv6 address before a
/// worker of its has made the route that delivers to it.
pub(crate) fn undelivered(netlink: &mut Netlink, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, NetlinkError> {
    let requests = addresses.iter().map(|address| {
        let mut message = RouteMessage::default();
        message.header.address_family = family(*address);
        message.header.destination_prefix_length = IpNet::from(*address).prefix_len();
        message.attributes = vec![RouteAttribute::Destination((*address).into())];
        Request::new("looking up the route to", RouteNetlinkMessage::GetRoute(message), 0)
    });
    let messages = netlink.batch(requests.collect())?.messages;
    let delivered: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local => destination(route),
            _ => None,
        })
        .collect();
    Ok(addresses.iter().copied().filter(|address| !delivered.contains(address)).collect())
}

/// Permanent neighbours of the interface.
pub(crate) fn permanent_neighbours(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<(IpAddr, Mac)>, NetlinkError> {
    let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let messages = netlink.dump("listing neighbours", &request)?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message)
                if message.header.ifindex == ifindex && message.header.state == NeighbourState::Permanent =>
            {
                neighbour(&message)
            }
            _ => None,
        })
        .collect())
}

fn get(mut message: LinkMessage, attributes: Vec<LinkAttribute>) -> Request {
    message.attributes = attributes;
    // Statistics would be most of the answer.
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Request::new("looking up link", RouteNetlinkMessage::GetLink(message), 0)
}

fn found(netlink: &mut Netlink, request: Request) -> Result<Option<Link>, NetlinkError> {
    match netlink.batch(vec![request])?.complete() {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        other => Ok(first_link(other?)),
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let up = message.header.flags.contains(LinkFlags::Up);
        let mut link = Self { index: message.header.index, up, ..Self::default() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = mac(&bytes).unwrap_or_default(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Link(peer) => link.peer = Some(peer),
                LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(id),
                LinkAttribute::LinkInfo(infos) => {
                    let kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(InfoKind::Veth) => Some("veth".to_owned()),
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    link.kind = kind.unwrap_or_default();
                }
                _ => {}
            }
        }
        link
    }
}

fn net(message: &address::AddressMessage) -> Option<IpNet> {
    use address::AddressAttribute::{Address, Local};
    // On a point-to-point link the peer's address comes as Address.
    let local =
        message.attributes.iter().find_map(|attribute| if let Local(ip) = attribute { Some(*ip) } else { None });
    let any =
        || message.attributes.iter().find_map(|attribute| if let Address(ip) = attribute { Some(*ip) } else { None });
    IpNet::new(local.or_else(any)?, message.header.prefix_len).ok()
}

fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let mut dst = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let (mut gateway, mut ifindex) = (None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => dst = ip(to)?,
            RouteAttribute::Gateway(via) => gateway = ip(via),
            RouteAttribute::Oif(index) => ifindex = *index,
            _ => {}
        }
    }
    Some(KernelRoute { dst: IpNet::new(dst, message.header.destination_prefix_length).ok()?, gateway, ifindex })
}

fn destination(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(to) => ip(to),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Mac)> {
    let (mut address, mut link_layer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => link_layer = mac(bytes),
            _ => {}
        }
    }
    Some((address?, link_layer?))
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}
