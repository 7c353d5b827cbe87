//! The veth pair between node and pod.

use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use nix::errno::Errno;

use crate::link::inspect::{first_link, get_by_name, link_by_name};
use crate::link::netlink::{Answer, Netlink, NetlinkError, Request};
use crate::link::netns::Netns;
use crate::mac::Mac;

/// Queues of each end. A veth has no lock and no queueing discipline to spread, but the kernel would make one for
/// every CPU, and an entry in sysfs for each: 1.6 ms more with 64 of them.
const QUEUES: u32 = 1;

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Veth {
    pub(crate) host_ifname: String,
    pub(crate) host_mac: Mac,
    pub(crate) ifname: String,
    pub(crate) pod_mac: Mac,
    pub(crate) mtu: u32,
    /// Group of the host end.
    pub(crate) group: u32,
}

/// Indices of a pair, each in its own namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) host_ifindex: u32,
    pub(crate) pod_ifindex: u32,
}

/// The pair could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VethError {
    /// One of the two names is taken; nothing was made.
    #[error("an interface of that name exists")]
    Exists,
    #[error("the kernel does not say what it made of {0}")]
    Vanished(String),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Veth {
    /// Makes the pair; the pod's end is born in the pod's namespace, so its name never meets one of the node's.
    pub(crate) fn create(&self, node: &mut Netlink, netns: &Netns) -> Result<Pair, VethError> {
        let answer = node.batch(vec![self.new_link(netns.as_raw_fd()), get_by_name(&self.host_ifname)])?;
        if answer.refusals.iter().any(|refusal| refusal.index == 0 && refusal.errno == Errno::EEXIST) {
            return Err(VethError::Exists);
        }
        let link = first_link(answer.complete()?);
        let pair = link.and_then(|link| Some(Pair { host_ifindex: link.index, pod_ifindex: link.peer? }));
        pair.ok_or_else(|| VethError::Vanished(self.host_ifname.clone()))
    }

    fn new_link(&self, netns: RawFd) -> Request {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(self.ifname.clone()),
            LinkAttribute::Address(self.pod_mac.0.to_vec()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::NetNsFd(netns),
            LinkAttribute::NumTxQueues(QUEUES),
            LinkAttribute::NumRxQueues(QUEUES),
        ];
        let mut host = LinkMessage::default();
        host.attributes = vec![
            LinkAttribute::IfName(self.host_ifname.clone()),
            LinkAttribute::Address(self.host_mac.0.to_vec()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::Group(self.group),
            LinkAttribute::NumTxQueues(QUEUES),
            LinkAttribute::NumRxQueues(QUEUES),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        Request::new("making the veth pair", RouteNetlinkMessage::NewLink(host), NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// Brings the host end up.
pub(crate) fn bring_up(node: &mut Netlink, ifindex: u32) -> Result<(), NetlinkError> {
    tolerate_no_ipv6(node.batch(set_up(ifindex).into())?).complete().map(|_| ())
}

/// Requests that bring an end up without a link-local address of the kernel's: every address of a pod is given to
/// it, and what the kernel would send to announce its own would only be dropped.
pub(super) fn set_up(ifindex: u32) -> [Request; 2] {
    let mut quiet = LinkMessage::default();
    quiet.header.index = ifindex;
    quiet.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])])];
    [Request::new("setting addr_gen_mode of link", RouteNetlinkMessage::NewLink(quiet), 0), up(ifindex)]
}

/// Request that brings a link up.
pub(crate) fn up(ifindex: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::new("bringing up link", RouteNetlinkMessage::NewLink(message), 0)
}

/// On a kernel or an interface without IPv6 there is no address of its to suppress.
pub(super) fn tolerate_no_ipv6(mut answer: Answer) -> Answer {
    answer.refusals.retain(|refusal| refusal.errno != Errno::EAFNOSUPPORT);
    answer
}

/// Removes a host end, and the pod's with it, if it is of that group or of the one above, where links wait for
/// their removal. One that is gone is no error, one of another group stays.
pub(crate) fn remove(node: &mut Netlink, host_ifname: &str, group: u32) -> Result<(), NetlinkError> {
    let Some(link) = link_by_name(node, host_ifname)?.filter(|link| link.group & !1 == group & !1) else {
        return Ok(());
    };
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    let request = Request::new("removing link", RouteNetlinkMessage::DelLink(message), 0);
    match node.batch(vec![request])?.complete() {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        other => other.map(|_| ()),
    }
}
