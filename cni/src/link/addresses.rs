//! Addresses of the pod's interface.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage};

use crate::link::netlink::Request;
use crate::link::routes::family;

/// Adds an address: ready at once, and without the route that the kernel would make for its prefix, because its
/// neighbours are reached through the gateway.
pub(super) fn add(ifindex: u32, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family(address.addr()),
        prefix_len: address.prefix_len(),
        index: ifindex,
        ..AddressHeader::default()
    };
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute),
    ];
    Request::new("adding address", RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}
