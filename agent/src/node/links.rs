//! Links, as far as the agent looks at them, and its own device.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use nix::errno::Errno;

use super::error::{failed, is, unless_gone};
use super::netlink::Socket;
use super::{HostLink, NodeError, Relay};

/// Name of the device that carries the pools' gateway addresses.
pub(super) const DEVICE: &str = "weft0";

/// Name of the device that carries packets to other nodes.
pub(super) const OVERLAY: &str = "weft-vx";

/// Names of the two ends of the shaper.
pub(super) const SHAPER: &str = "weft-shaper";
pub(super) const SHAPED: &str = "weft-shaped";

/// The other end of [`DEVICE`].
const PEER: &str = "weft0-peer";

/// MTU of both, in bytes: room for what the programs park.
const RELAYED: u32 = 2034;

/// What the name of every host end begins with.
const PREFIX: &str = "weft";

/// A link of the node's namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) group: u32,
    pub(super) up: bool,
    pub(super) mtu: u32,
    pub(super) mac: Vec<u8>,
    /// Whether its packets have Ethernet headers.
    pub(super) ethernet: bool,
    pub(super) loopback: bool,
    /// Bridge or bond that it is a port of.
    pub(super) master: Option<u32>,
    pub(super) vxlan: Option<Vxlan>,
    /// The other end of a veth pair, by its index.
    pub(super) peer: Option<u32>,
    /// Its queueing discipline.
    pub(super) discipline: String,
    /// Bytes of the largest packet that it takes to be segmented later, of IPv4 too where that has a size of its own,
    /// the most that can be set, and packets that one may become.
    pub(super) gso_size: Option<u32>,
    pub(super) gso_v4_size: Option<u32>,
    pub(super) tso_size: Option<u32>,
    pub(super) gso_segs: u32,
}

/// What is to know of a VXLAN device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vxlan {
    pub(super) port: u16,
    /// Whether every packet brings its own tunnel.
    pub(super) external: bool,
    /// Whether it does without ARP and neighbour discovery.
    pub(super) silent: bool,
}

impl Link {
    /// Whether it is the host end of a veth in this agent's group, or on its way out of it.
    pub(super) fn is_host_end(&self, group: u32) -> bool {
        self.is_ours(group) && ![DEVICE, PEER, OVERLAY, SHAPER, SHAPED].contains(&self.name.as_str())
    }

    /// Whether this agent made it: a host end, or a device of its own.
    pub(super) fn is_ours(&self, group: u32) -> bool {
        self.group & !1 == group && self.name.starts_with(PREFIX) || self.name == PEER
    }

    fn from_message(message: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = message else { return None };
        Some(Self::from(message))
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            loopback: flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Controller(master) => link.master = Some(master),
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::Qdisc(kind) => link.discipline = kind,
                LinkAttribute::GsoMaxSize(size) => link.gso_size = Some(size),
                LinkAttribute::GsoIpv4MaxSize(size) => link.gso_v4_size = Some(size),
                LinkAttribute::TsoMaxSize(size) => link.tso_size = Some(size),
                LinkAttribute::GsoMaxSegs(most) => link.gso_segs = most,
                LinkAttribute::LinkInfo(info) => link.vxlan = vxlan(info, flags.contains(LinkFlags::Noarp)),
                _ => {}
            }
        }
        link
    }
}

fn vxlan(info: Vec<LinkInfo>, silent: bool) -> Option<Vxlan> {
    let data = info.into_iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    })?;
    let mut vxlan = Vxlan { silent, ..Vxlan::default() };
    for attribute in data {
        match attribute {
            InfoVxlan::Port(port) => vxlan.port = port,
            InfoVxlan::CollectMetadata(external) => vxlan.external = external,
            _ => {}
        }
    }
    Some(vxlan)
}

impl From<Link> for HostLink {
    fn from(link: Link) -> Self {
        Self { ifindex: link.index, name: link.name, group: link.group }
    }
}

/// The link of that name.
pub(super) fn by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, NodeError> {
    let mut message = query();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    one(socket, message, || name.to_owned())
}

/// The link of that index.
pub(super) fn by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>, NodeError> {
    let mut message = query();
    message.header.index = index;
    one(socket, message, || format!("ifindex {index}"))
}

/// Every link.
pub(super) fn all(socket: &mut Socket) -> Result<Vec<Link>, NodeError> {
    let links = socket.dump(&RouteNetlinkMessage::GetLink(query())).map_err(failed("RTM_GETLINK", || "links"))?;
    Ok(links.into_iter().filter_map(Link::from_message).collect())
}

/// A request that moves a link into a group.
pub(super) fn set_group(index: u32, group: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Group(group));
    RouteNetlinkMessage::SetLink(message)
}

/// A request that deletes every link of a group.
pub(super) fn delete_group(group: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    RouteNetlinkMessage::DelLink(message)
}

/// Makes the agent's device, or finds it; its index.
///
/// One end of a veth pair, the one kind of device that every kernel has on which pods run. By the other end the agent
/// sends what shall come in once more.
pub(super) fn ensure_device(socket: &mut Socket, group: u32) -> Result<u32, NodeError> {
    let mut pair = named(DEVICE);
    let peer = InfoData::Veth(InfoVeth::Peer(named(PEER)));
    pair.attributes.extend([
        LinkAttribute::Group(group),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]),
    ]);
    match socket.apply((RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL)) {
        Err(error) if is(&error, Errno::EEXIST) => {}
        other => other.map_err(failed("RTM_NEWLINK", || DEVICE))?,
    }
    let device = by_name(socket, DEVICE)?.ok_or_else(|| NodeError::Missing { object: format!("device {DEVICE}") })?;
    if device.group != group {
        return Err(NodeError::DeviceTaken { name: DEVICE });
    }
    let (peer, index) = (by_name(socket, PEER)?, device.index);
    // Without the other end, which somebody may have taken away, it is still the node's address.
    for (name, end) in peer.map(|peer| (PEER, peer)).into_iter().chain([(DEVICE, device)]) {
        if end.mtu != RELAYED {
            let mut wide = named(name);
            wide.attributes.push(LinkAttribute::Mtu(RELAYED));
            socket.apply((RouteNetlinkMessage::SetLink(wide), 0)).map_err(failed("RTM_SETLINK", || name))?;
        }
        if !end.up {
            start_silently(socket, name)?;
        }
    }
    Ok(index)
}

/// The agent's device as a relay, while it is there.
pub(super) fn relay(socket: &mut Socket, group: u32) -> Result<Option<Relay>, NodeError> {
    let device = by_name(socket, DEVICE)?.filter(|device| device.group == group);
    Ok(device.zip(by_name(socket, PEER)?).map(|(device, peer)| Relay {
        device: device.index,
        mac: <[u8; 6]>::try_from(device.mac.as_slice()).unwrap_or_default(),
        entrance: peer.index,
    }))
}

/// Removes a device of the agent's own; somebody else's of that name stays.
pub(super) fn remove_device(socket: &mut Socket, name: &'static str, group: u32) -> Result<(), NodeError> {
    match by_name(socket, name)? {
        Some(device) if device.group == group => {
            let deleted = socket.apply((RouteNetlinkMessage::DelLink(named(name)), 0));
            unless_gone(deleted, Errno::ENODEV).map_err(failed("RTM_DELLINK", || name))
        }
        _ => Ok(()),
    }
}

/// Takes a device up without a link-local address, so that it solicits no routers and reports no groups.
pub(super) fn start_silently(socket: &mut Socket, name: &'static str) -> Result<(), NodeError> {
    let mut silent = named(name);
    let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    silent.attributes.push(LinkAttribute::AfSpecUnspec(vec![mode]));
    let mut up = named(name);
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    match socket.apply((RouteNetlinkMessage::SetLink(silent), 0)) {
        // A kernel without IPv6.
        Err(error) if is(&error, Errno::EAFNOSUPPORT) => {}
        other => other.map_err(failed("RTM_SETLINK", || name))?,
    }
    socket.apply((RouteNetlinkMessage::SetLink(up), 0)).map_err(failed("RTM_SETLINK", || name))
}

/// The first host address of a pool, which is the node's own on the agent's device.
pub(super) fn gateway(pool: &IpNet) -> IpAddr {
    match pool.network() {
        IpAddr::V4(network) => (network.to_bits() | 1).to_be_bytes().into(),
        IpAddr::V6(network) => (network.to_bits() | 1).to_be_bytes().into(),
    }
}

pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn query() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

fn one(socket: &mut Socket, message: LinkMessage, object: impl FnOnce() -> String) -> Result<Option<Link>, NodeError> {
    match socket.get(RouteNetlinkMessage::GetLink(message)) {
        Ok(answer) => Ok(Link::from_message(answer)),
        Err(error) if is(&error, Errno::ENODEV) => Ok(None),
        Err(error) => Err(failed("RTM_GETLINK", object)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_first_host() {
        for (pool, address) in
            [("10.244.3.0/24", "10.244.3.1"), ("10.244.0.128/26", "10.244.0.129"), ("fd00:10::/64", "fd00:10::1")]
        {
            assert_eq!(gateway(&pool.parse().unwrap()), address.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn only_host_ends_of_our_group_are_ours() {
        let link = |name: &str, group| Link { name: name.to_owned(), group, ..Link::default() };
        assert!(link("weft00000000001", 0x5700_0010).is_host_end(0x5700_0010));
        assert!(link("weft00000000001", 0x5700_0011).is_host_end(0x5700_0010));
        assert!(!link("weft00000000001", 0x5700_0012).is_host_end(0x5700_0010));
        assert!(!link("eth0", 0x5700_0010).is_host_end(0x5700_0010));
        assert!(!link("weft0", 0x5700_0010).is_host_end(0x5700_0010));
    }
}
