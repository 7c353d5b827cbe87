//! News of the node's links, addresses and routes.

use std::io;
use std::thread;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use nix::errno::Errno;
use tokio::sync::watch;

use super::NodeError;
use super::error::is;
use super::links::Link;
use super::netlink::{ADDRESSES, LINKS, ROUTES, Socket};
use super::routes;

/// `RTM_NEWROUTE` and `RTM_DELROUTE`.
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;

/// `RT_TABLE_LOCAL`: the node's own addresses, and multicast.
const LOCAL: u8 = 255;

/// Starts to listen in the caller's network namespace. The number grows with everything that may concern the way off
/// the node; pods that come and go do not.
pub(super) fn start(group: u32) -> Result<watch::Receiver<u64>, NodeError> {
    let open = |call| move |source| NodeError::Open { call, source };
    let mut socket = Socket::open_events(LINKS | ADDRESSES | ROUTES).map_err(open("socket"))?;
    let (news, receiver) = watch::channel(0);
    thread::Builder::new()
        .name("weft-events".to_owned())
        .spawn(move || listen(&mut socket, group, &news))
        .map_err(open("clone"))?;
    Ok(receiver)
}

fn listen(socket: &mut Socket, group: u32, news: &watch::Sender<u64>) {
    while !news.is_closed() {
        let mut concerns = false;
        // Our own routes come with pods and peers, by the thousand.
        let not_ours = |kind, bytes: &[u8]| ![NEW_ROUTE, DEL_ROUTE].contains(&kind) || !routes::is_ours(bytes);
        let heard = socket.receive_wanted(&not_ours, |message| {
            concerns |= match message?.payload {
                NetlinkPayload::InnerMessage(message) => matters(message, group),
                _ => false,
            };
            Ok(())
        });
        match heard {
            Ok(()) => {}
            // Events were lost, or one is not understood: whoever listens looks at everything anyway.
            Err(error) if error.kind() == io::ErrorKind::Other || is(&error, Errno::ENOBUFS) => concerns = true,
            Err(error) => {
                log::warn!("changes of the node's network are seen only now and then: {error}");
                return;
            }
        }
        if concerns {
            news.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

fn matters(message: RouteNetlinkMessage, group: u32) -> bool {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => link_matters(link, group),
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => true,
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => route_matters(&route),
        _ => false,
    }
}

fn link_matters(link: LinkMessage, group: u32) -> bool {
    // Bridges tell of their ports in a family of their own, beside the news of the link itself.
    link.header.interface_family == AddressFamily::Unspec && !Link::from(link).is_host_end(group)
}

/// Those of the local table come with addresses.
fn route_matters(route: &RouteMessage) -> bool {
    route.header.table != LOCAL
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkAttribute;

    use super::*;

    const GROUP: u32 = 0x5700_0002;

    fn link(name: &str, group: u32) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.attributes.extend([LinkAttribute::IfName(name.into()), LinkAttribute::Group(group)]);
        RouteNetlinkMessage::NewLink(message)
    }

    #[test]
    fn pods_are_no_news() {
        for (name, group, news) in
            [("weft00", GROUP, false), ("weft00", GROUP | 1, false), ("weft-vx", GROUP, true), ("eth0", 0, true)]
        {
            assert_eq!(matters(link(name, group), GROUP), news, "{name}");
        }
        let mut route = RouteMessage::default();
        assert!(route_matters(&route));
        route.header.table = LOCAL;
        assert!(!route_matters(&route));
    }
}
