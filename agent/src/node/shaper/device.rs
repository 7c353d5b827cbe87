//! The shaper's two devices.

use std::fs;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use nix::errno::Errno;

use super::failed;
use crate::node::NodeError;
use crate::node::error::is;
use crate::node::links::{self, Link, SHAPED, SHAPER};
use crate::node::netlink::Socket;
use crate::node::sysctl::{self, Sysctls};

/// The most that a veth takes: whatever a pod may send fits.
const MTU: u32 = 65535;

/// Both ends, as they are.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) entrance: u32,
    pub(super) exit: u32,
    /// The entrance's queueing discipline.
    pub(super) discipline: String,
}

/// Makes the pair, or puts right what differs.
pub(super) fn ensure(socket: &mut Socket, sysctls: &Sysctls, group: u32) -> Result<Pair, NodeError> {
    let found = find(socket, group)?;
    if found.is_none() {
        create(socket, group)?;
    }
    let missing = || NodeError::Missing { object: format!("device {SHAPER}") };
    let (entrance, exit) = found.map_or_else(|| find(socket, group), |ends| Ok(Some(ends)))?.ok_or_else(missing)?;
    for (name, end) in [(SHAPER, &entrance), (SHAPED, &exit)] {
        silence(sysctls, name)?;
        let attributes = differing(name, end);
        if !attributes.is_empty() {
            let mut message = links::named(name);
            message.attributes.extend(attributes);
            socket.apply((RouteNetlinkMessage::SetLink(message), 0)).map_err(failed("RTM_SETLINK", || name))?;
        }
        if !end.up {
            links::start_silently(socket, name)?;
        }
    }
    Ok(Pair { entrance: entrance.index, exit: exit.index, discipline: entrance.discipline })
}

/// Both ends if they are there and belong together. One alone, or of somebody else's pair, is of no use.
fn find(socket: &mut Socket, group: u32) -> Result<Option<(Link, Link)>, NodeError> {
    let mut ends = Vec::new();
    for name in [SHAPER, SHAPED] {
        match links::by_name(socket, name)? {
            Some(link) if link.group != group => return Err(NodeError::DeviceTaken { name }),
            link => ends.push(link),
        }
    }
    let (exit, entrance) = (ends.pop().flatten(), ends.pop().flatten());
    match entrance.zip(exit) {
        Some((entrance, exit)) if entrance.peer == Some(exit.index) => Ok(Some((entrance, exit))),
        _ => {
            links::remove_device(socket, SHAPER, group)?;
            links::remove_device(socket, SHAPED, group)?;
            Ok(None)
        }
    }
}

fn create(socket: &mut Socket, group: u32) -> Result<(), NodeError> {
    let end = |name| {
        let mut end: LinkMessage = links::named(name);
        end.attributes.extend([LinkAttribute::Group(group), LinkAttribute::Mtu(MTU)]);
        end
    };
    let (mut pair, peer) = (end(SHAPER), InfoData::Veth(InfoVeth::Peer(end(SHAPED))));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]));
    match socket.apply((RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL)) {
        Err(error) if is(&error, Errno::EEXIST) => Ok(()),
        other => other.map_err(failed("RTM_NEWLINK", || SHAPER)),
    }
}

/// What is not as it should be: the entrance takes packets as large as they come, the exit sends none that is to be
/// segmented later, so that what leaves by it is cut.
fn differing(name: &str, end: &Link) -> Vec<LinkAttribute> {
    let mut attributes = Vec::new();
    if end.mtu != MTU {
        attributes.push(LinkAttribute::Mtu(MTU));
    }
    if name == SHAPED {
        if end.gso_segs != 1 {
            attributes.push(LinkAttribute::GsoMaxSegs(1));
        }
        return attributes;
    }
    // Older kernels do not say, and have one size for all devices.
    let Some(most) = end.tso_size else { return attributes };
    if end.gso_size != Some(most) {
        attributes.push(LinkAttribute::GsoMaxSize(most));
    }
    if end.gso_v4_size.is_some_and(|size| size != most) {
        attributes.push(LinkAttribute::GsoIpv4MaxSize(most));
    }
    attributes
}

/// The node's stack has nothing to say there.
fn silence(sysctls: &Sysctls, name: &str) -> Result<(), NodeError> {
    let off = sysctls.path("ipv6/conf").join(name).join("disable_ipv6");
    if fs::exists(&off).unwrap_or_default() { sysctl::set(off, "1") } else { Ok(()) }
}
