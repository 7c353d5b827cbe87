//! The one device that carries packets to other nodes: a VXLAN whose every packet brings its own tunnel.
//!
//! It neither asks for addresses nor answers: with `NOARP` a frame of the node's own stack carries this device's MAC as
//! its destination, and the receiving node's program knows by the inner packet whose it is.

use std::fs;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use nix::errno::Errno;

use super::NodeError;
use super::error::{failed, is};
use super::links::{self, Link, OVERLAY, Vxlan};
use super::netlink::Socket;
use super::sysctl::{self, Sysctls};

/// How the device is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlaySpec {
    /// UDP port.
    pub port: u16,
    /// Largest inner packet, in bytes.
    pub mtu: u32,
}

/// The device as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayDevice {
    /// Its name.
    pub name: &'static str,
    /// Its interface index.
    pub index: u32,
    /// Largest inner packet, in bytes.
    pub mtu: u32,
}

/// Makes the device, or puts right what differs.
pub(super) fn ensure(
    socket: &mut Socket,
    sysctls: &Sysctls,
    group: u32,
    spec: OverlaySpec,
) -> Result<OverlayDevice, NodeError> {
    let found = match links::by_name(socket, OVERLAY)? {
        Some(link) if link.group != group => return Err(NodeError::DeviceTaken { name: OVERLAY }),
        Some(link) if link.vxlan == Some(Vxlan { port: spec.port, external: true, silent: true }) => link,
        Some(_) => {
            links::remove_device(socket, OVERLAY, group)?;
            create(socket, group, spec)?
        }
        None => create(socket, group, spec)?,
    };
    if found.mtu != spec.mtu {
        let mut message = links::named(OVERLAY);
        message.attributes.push(LinkAttribute::Mtu(spec.mtu));
        socket.apply((RouteNetlinkMessage::SetLink(message), 0)).map_err(failed("RTM_SETLINK", || OVERLAY))?;
    }
    if !found.up {
        match links::start_silently(socket, OVERLAY) {
            // The port is taken by a socket of the node.
            Err(NodeError::Netlink { source, .. }) if is(&source, Errno::EADDRINUSE) => {
                return Err(NodeError::PortTaken { port: spec.port });
            }
            other => other?,
        }
    }
    tune(sysctls)?;
    Ok(OverlayDevice { name: OVERLAY, index: found.index, mtu: spec.mtu })
}

fn create(socket: &mut Socket, group: u32, spec: OverlaySpec) -> Result<Link, NodeError> {
    match socket.apply((RouteNetlinkMessage::NewLink(message(group, spec)), NLM_F_CREATE | NLM_F_EXCL)) {
        Err(error) if is(&error, Errno::EEXIST) => return Err(NodeError::PortTaken { port: spec.port }),
        Err(error) if is(&error, Errno::EOPNOTSUPP) => return Err(NodeError::NoVxlan),
        other => other.map_err(failed("RTM_NEWLINK", || OVERLAY))?,
    }
    links::by_name(socket, OVERLAY)?.ok_or_else(|| NodeError::Missing { object: format!("device {OVERLAY}") })
}

fn message(group: u32, spec: OverlaySpec) -> LinkMessage {
    let mut message = links::named(OVERLAY);
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    message.attributes.extend([
        LinkAttribute::Group(group),
        LinkAttribute::Mtu(spec.mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(vec![
                InfoVxlan::CollectMetadata(true),
                InfoVxlan::Port(spec.port),
                InfoVxlan::Learning(false),
                // The inner packet has its own checksum (RFC 6935).
                InfoVxlan::UDPZeroCsumRX(true),
            ])),
        ]),
    ]);
    message
}

/// Every source on this device was checked against its node, so the strict reverse path filter has nothing to add.
fn tune(sysctls: &Sysctls) -> Result<(), NodeError> {
    sysctls.loosen(OVERLAY)?;
    let v6 = sysctls.path("ipv6/conf").join(OVERLAY);
    if fs::exists(&v6).unwrap_or_default() {
        sysctl::set(v6.join("accept_ra"), "0")?;
    }
    Ok(())
}
