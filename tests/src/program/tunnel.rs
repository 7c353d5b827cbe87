//! `from_overlay` on a real tunnel device: a test run has no tunnel key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use aya::programs::TcAttachType;
use nix::net::if_::if_nametoindex;
use weft_abi::{Peer, PeerFlags, Reason};

use super::underlay::VNI;
use super::{Hook, OVERLAY_PORT, Programs, classifier};
use crate::netns::Netns;
use crate::node::Family;
use crate::packet::FrameSocket;
use crate::site::Site;
use crate::wait;
use crate::{exec, kernel};

/// A node with the hook, another one that it knows, and a stranger on the same link.
#[derive(Debug)]
pub struct Tunnel {
    /// The loaded programs.
    pub programs: Programs,
    friend: FrameSocket,
    foreigner: FrameSocket,
    stranger: FrameSocket,
    _node: Netns,
    _others: Netns,
    _site: Arc<Site>,
}

/// Who sends through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The node that the peer entries name.
    Friend,
    /// The same in another virtual network.
    Foreigner,
    /// An address of no peer.
    Stranger,
}

/// The underlay of one family: the node's, the friend's and the stranger's address.
fn addresses(family: Family) -> [&'static str; 3] {
    match family {
        Family::V4 => ["192.0.2.11", "192.0.2.12", "192.0.2.99"],
        Family::V6 => ["2001:db8::11", "2001:db8::12", "2001:db8::99"],
    }
}

impl Tunnel {
    /// Lays a link with a tunnel over this family; the friend has `10.244.2.0/24` and `fd00:10:244:2::/64`.
    pub fn lay(family: Family) -> Result<Self> {
        let site = Site::of_tests()?;
        let node = Netns::with_loopback(&site.unique("b"))?;
        let others = Netns::with_loopback(&site.unique("b"))?;
        let [own, friend, stranger] = addresses(family);
        let (bits, nodad) = if family == Family::V4 { (24, "") } else { (64, " nodad") };
        exec::ip_batch(
            &node,
            &[
                &format!("link add up0 type veth peer name up0 netns {}", others.name()),
                "link set up0 up",
                &format!("addr add {own}/{bits} dev up0{nodad}"),
                &format!("link add vx0 type vxlan external dstport {OVERLAY_PORT} nolearning"),
                "link set vx0 addrgenmode none up",
            ],
        )?;
        let (foreign, port) = (VNI + 1, OVERLAY_PORT);
        exec::ip_batch(
            &others,
            &[
                "link set up0 up",
                &format!("addr add {friend}/{bits} dev up0{nodad}"),
                &format!("addr add {stranger}/{bits} dev up0{nodad}"),
                &format!("link add friend type vxlan id {VNI} remote {own} local {friend} dstport {port}"),
                &format!("link add foreigner type vxlan id {foreign} remote {own} local {friend} dstport {port}"),
                // One device a virtual network and remote: another number beside the friend's, made right below.
                &format!("link add stranger type vxlan id {} remote {own} local {stranger} dstport {port}", VNI + 2),
            ],
        )?;
        for device in ["friend", "foreigner", "stranger"] {
            // Its own multicast reports would be counted, too.
            kernel::set_sysctl(&others, &format!("net/ipv6/conf/{device}/disable_ipv6"), "1")?;
            exec::ip_batch(&others, &[&format!("link set {device} up")])?;
        }
        let mut programs = Programs::load()?;
        let device = node.enter(|| -> Result<u32> {
            classifier(&mut programs.ebpf, Hook::FromOverlay)?.attach("vx0", TcAttachType::Ingress)?;
            Ok(if_nametoindex("vx0")?)
        })??;
        for (range, flags) in [("10.244.0.0/24", PeerFlags::LOCAL), ("fd00:10:244::/64", PeerFlags::LOCAL)] {
            programs.add_peer(range, Peer { flags, ..Peer::default() })?;
        }
        let address: IpAddr = friend.parse()?;
        for range in ["10.244.2.0/24", "fd00:10:244:2::/64"] {
            programs.add_peer(range, Peer { node: address.into(), device, vni: VNI, ..Peer::default() })?;
        }
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let flags = PeerFlags::NODE;
        programs.add_peer(&format!("{address}/{bits}"), Peer { node: address.into(), flags, ..Peer::default() })?;
        let open = |device| FrameSocket::open(&others, device);
        let (friend, foreigner, stranger) = (open("friend")?, open("foreigner")?, open("stranger")?);
        Ok(Self { programs, friend, foreigner, stranger, _node: node, _others: others, _site: site })
    }

    /// Sends an inner frame; the verdict that was counted.
    pub fn send(&mut self, sender: Sender, frame: &[u8]) -> Result<Reason> {
        let before = self.programs.counts()?;
        match sender {
            Sender::Friend => &self.friend,
            Sender::Foreigner => &self.foreigner,
            Sender::Stranger => &self.stranger,
        }
        .send(frame)?;
        let mut counted = Vec::new();
        wait::until("a verdict", Duration::from_secs(2), || {
            counted = self.programs.counts()?.since(&before);
            Ok(!counted.is_empty())
        })?;
        match counted[..] {
            [(reason, _, count)] if count.packets == 1 => Ok(reason),
            _ => bail!("one packet was counted as {counted:?}"),
        }
    }
}
