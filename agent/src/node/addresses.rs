//! The node's own addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::NodeError;
use super::error::{failed, unless_gone};
use super::links::{self, DEVICE, OVERLAY};
use super::netlink::{Request, Socket};

/// Both families.
pub(super) const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// An address and the index of its device.
type Found = (IpAddr, u32);

/// Every address of every device.
pub(super) fn all(socket: &mut Socket) -> Result<Vec<Found>, NodeError> {
    let answers = socket
        .dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .map_err(failed("RTM_GETADDR", || "addresses"))?;
    Ok(answers.into_iter().filter_map(parse).collect())
}

/// Refuses pools that hold an address of another device: a pod could be given it.
pub(super) fn refuse_overlap(socket: &mut Socket, found: &[Found], pools: &[IpNet]) -> Result<(), NodeError> {
    for (address, index) in found {
        let Some(pool) = pools.iter().find(|pool| pool.contains(address)) else { continue };
        match links::by_index(socket, *index)? {
            Some(link) if ![DEVICE, OVERLAY].contains(&link.name.as_str()) => {
                return Err(NodeError::Overlap { pool: *pool, address: *address, device: link.name });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives the device exactly these addresses, each for itself, without a subnet.
pub(super) fn set(socket: &mut Socket, found: &[Found], device: u32, wanted: &[IpAddr]) -> Result<(), NodeError> {
    let stale = found.iter().filter(|(address, index)| *index == device && !wanted.contains(address));
    for (address, _) in stale {
        let request = (RouteNetlinkMessage::DelAddress(message(device, *address)), 0);
        unless_gone(socket.apply(request), Errno::EADDRNOTAVAIL)
            .map_err(failed("RTM_DELADDR", || format!("{address} dev ifindex {device}")))?;
    }
    // What is there is left alone: setting it again would be news to everybody who listens, this agent among them.
    let missing = || wanted.iter().filter(|address| !found.contains(&(**address, device)));
    let request = |address: &IpAddr| -> Request {
        (RouteNetlinkMessage::NewAddress(message(device, *address)), NLM_F_CREATE | NLM_F_REPLACE)
    };
    let answers = socket.apply_all(missing().map(request)).map_err(failed("RTM_NEWADDR", || "addresses"))?;
    for (address, answer) in missing().zip(answers) {
        answer.map_err(failed("RTM_NEWADDR", || format!("{address} dev ifindex {device}")))?;
    }
    Ok(())
}

fn message(device: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = device;
    message.header.family = family(address);
    message.header.prefix_len = IpNet::from(address).prefix_len();
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    if address.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
    }
    message
}

/// The netlink name of an address's family.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn parse(message: RouteNetlinkMessage) -> Option<Found> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let index = message.header.index;
    let (mut local, mut address) = (None, None);
    for attribute in message.attributes {
        match attribute {
            // On a point-to-point device IFA_ADDRESS is the peer's.
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            _ => {}
        }
    }
    local.or(address).map(|ip| (ip, index))
}
