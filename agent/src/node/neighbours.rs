//! Permanent neighbours: the node never asks for a pod's MAC.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use nix::errno::Errno;
use weft_cni::mac::Mac;

use super::NodeError;
use super::addresses::family;
use super::error::{failed, is};
use super::netlink::{Request, Socket};

/// A request that tells the node the pod's MAC.
pub(super) fn to_pod(address: IpAddr, device: u32, mac: Mac) -> Request {
    let mut message = message(address, device);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Compares what the node knows of the pod's MAC.
pub(super) fn verify(socket: &mut Socket, address: IpAddr, device: u32, mac: Mac) -> Result<(), NodeError> {
    let object = || format!("neighbour {address}");
    let found = match socket.get(RouteNetlinkMessage::GetNeighbour(message(address, device))) {
        Ok(RouteNetlinkMessage::NewNeighbour(found)) => found,
        Ok(_) => return Err(NodeError::Missing { object: object() }),
        Err(error) if is(&error, Errno::ENOENT) => return Err(NodeError::Missing { object: object() }),
        Err(error) => return Err(failed("RTM_GETNEIGH", object)(error)),
    };
    let expected = NeighbourAttribute::LinkLayerAddress(mac.0.to_vec());
    if found.header.state == NeighbourState::Permanent && found.attributes.contains(&expected) {
        return Ok(());
    }
    let known = found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
        _ => None,
    });
    Err(NodeError::Differs {
        object: object(),
        found: format!("{} ({:?})", known.unwrap_or_default(), found.header.state),
        expected: format!("{mac} (Permanent)"),
    })
}

fn message(address: IpAddr, device: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = device;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}
