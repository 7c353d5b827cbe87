//! Neighbours of the pod's interface.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;

use crate::link::netlink::Request;
use crate::link::routes::family;
use crate::mac::Mac;

/// Adds a neighbour that never has to be asked for.
pub(super) fn add_permanent(ifindex: u32, address: IpAddr, mac: Mac) -> Request {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: family(address),
        ifindex,
        state: NeighbourState::Permanent,
        kind: RouteType::Unicast,
        ..NeighbourHeader::default()
    };
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes =
        vec![NeighbourAttribute::Destination(destination), NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    Request::new("adding neighbour", RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}
