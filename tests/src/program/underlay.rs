//! A node with an uplink, an overlay and peers, as its maps describe it.
//!
//! Everything is seen at `lo`, which is the pod's device, the uplink and the overlay device in one: a hook knows its
//! device by number alone, and which hook runs is what a test says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use weft_abi::{Addr, Flow, FlowFlags, Nat, Peer, PeerFlags, Reason, Tuple, Uplink};
use weft_cni::mac::Mac;

use super::scene::{OTHER, SELF};
use super::{Action, Hook, IFINDEX, Outcome, Programs, Skb};
use crate::netns::Netns;
use crate::node::Family;
use crate::packet::checksum;
use crate::packet::craft::Link;
use crate::packet::datagram::{Datagram, Kind};
use crate::site::Site;

/// What `lo` is, whose MAC is all zero.
pub const LINK: Link = Link { src: Mac([0x02, 0, 0, 0, 0, 0x0a]), dst: Mac([0; 6]) };

/// Number of the virtual network.
pub const VNI: u32 = 1;

/// The node's address on its uplink.
pub fn node(family: Family) -> IpAddr {
    two(family, Ipv4Addr::new(192, 0, 2, 11), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11))
}

/// Another node's address.
pub fn peer(family: Family) -> IpAddr {
    two(family, Ipv4Addr::new(192, 0, 2, 12), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x12))
}

/// A pod of the other node.
pub fn remote(family: Family) -> IpAddr {
    two(family, Ipv4Addr::new(10, 244, 2, 2), Ipv6Addr::new(0xfd00, 0x10, 0x244, 2, 0, 0, 0, 2))
}

/// Somebody in the world.
pub fn world(family: Family) -> IpAddr {
    two(family, Ipv4Addr::new(198, 51, 100, 2), Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2))
}

/// A router on the way there.
pub fn router(family: Family) -> IpAddr {
    two(family, Ipv4Addr::new(203, 0, 113, 1), Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1))
}

/// The pod of the scene.
pub fn pod(family: Family) -> IpAddr {
    two(family, SELF.v4, SELF.v6)
}

/// Another pod of the node.
pub fn neighbour(family: Family) -> IpAddr {
    two(family, OTHER.v4, OTHER.v6)
}

fn two(family: Family, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    match family {
        Family::V4 => v4.into(),
        Family::V6 => v6.into(),
    }
}

/// The programs on a node with an uplink, two pods, and a peer.
#[derive(Debug)]
pub struct Underlay {
    /// The loaded programs.
    pub programs: Programs,
    _site: Arc<Site>,
}

impl Underlay {
    /// In a namespace of its own, so that no socket or route of the machine is seen.
    pub fn set() -> Result<Self> {
        let site = Site::of_tests()?;
        let netns = Netns::with_loopback(&site.unique("b"))?;
        let mut programs = Programs::load_for(Some(netns), false)?;
        for cast in [SELF, OTHER] {
            for addr in cast.addresses() {
                programs.add(addr, cast.pod)?;
            }
        }
        let local = Peer { flags: PeerFlags::LOCAL, ..Peer::default() };
        let friend = Peer { node: peer(Family::V4).into(), device: IFINDEX, vni: VNI, mtu: 1450, ..Peer::default() };
        for (own, others) in [("10.244.0.0/24", "10.244.2.0/24"), ("fd00:10:244::/64", "fd00:10:244:2::/64")] {
            programs.add_peer(own, local)?;
            programs.add_peer(others, friend)?;
            programs.exempt(own)?;
            programs.exempt(others)?;
        }
        for (family, bits) in Family::BOTH.into_iter().zip([32, 128]) {
            programs.add_peer(&format!("{}/{bits}", peer(family)), Peer { flags: PeerFlags::NODE, ..friend })?;
        }
        let [v4, v6] = Family::BOTH.map(|family| Addr::from(node(family)));
        programs.add_uplink(IFINDEX, Uplink { v4, v6 })?;
        Ok(Self { programs, _site: site })
    }

    /// What becomes of a packet that leaves by the uplink.
    pub fn leaves(&mut self, packet: impl Into<Skb>) -> Result<Outcome> {
        self.programs.run(Hook::ToNetdev, packet)
    }

    /// What becomes of a packet that comes in by the uplink.
    pub fn comes(&mut self, packet: impl Into<Skb>) -> Result<Outcome> {
        self.programs.run(Hook::FromNetdev, packet)
    }

    /// Sends a packet of a pod out; fails unless it gets the node's address and right checksums and is the same
    /// otherwise. The packet as it left.
    ///
    /// A test run cannot say that `from_pod` sent it here past the stack: that is noted in the flow afterwards.
    pub fn must_translate(&mut self, sent: &Datagram) -> Result<Datagram> {
        let outcome = self.leaves(sent.frame())?;
        outcome.must_be(Reason::Translated)?;
        ensure!(outcome.action == Action::Next, "it was told to {:?}", outcome.action);
        let port = self.port_of(sent)?;
        let family = if sent.src.is_ipv4() { Family::V4 } else { Family::V6 };
        let left = sent.from(SocketAddr::new(node(family), port));
        must_equal(&outcome.bytes, &left.frame()).with_context(|| format!("{sent:?} left as another"))?;
        self.straighten(sent, &left)?;
        Ok(left)
    }

    fn straighten(&mut self, sent: &Datagram, left: &Datagram) -> Result<()> {
        let (flow, nat) = self.entries(sent, left)?;
        let flags = flow.flags & !FlowFlags::VIA_STACK;
        self.programs.put_flow(&tuple(sent), &Flow { flags, ..flow })?;
        self.programs.put_nat(&tuple(left), &Nat { flags: nat.flags & !FlowFlags::VIA_STACK, ..nat })
    }

    /// Lets a packet from outside come back; fails unless it is delivered to the pod as `expected`, whose link-layer
    /// addresses are the pod's.
    pub fn must_return(&mut self, came: &[u8], expected: &[u8]) -> Result<()> {
        let outcome = self.comes(came)?;
        outcome.must_be(Reason::Translated)?;
        ensure!(outcome.action == Action::Redirect, "it was told to {:?}", outcome.action);
        must_equal(&outcome.bytes, expected)
    }

    /// The port that a packet's flow was given.
    fn port_of(&self, sent: &Datagram) -> Result<u16> {
        let tuple = tuple(sent);
        let flow = self.programs.flow(&tuple)?.with_context(|| format!("no flow for {tuple:?}"))?;
        ensure!(flow.flags & FlowFlags::TRANSLATED != 0, "the flow is not translated: {flow:?}");
        Ok(u16::from_be(flow.nat_port))
    }

    /// The entries of a flow that a pod began: its own and the way back.
    pub fn entries(&self, sent: &Datagram, left: &Datagram) -> Result<(Flow, Nat)> {
        let flow = self.programs.flow(&tuple(sent))?.context("no flow")?;
        let nat = self.programs.nat(&tuple(left))?.context("no way back")?;
        Ok((flow, nat))
    }
}

/// The link-layer addresses of a packet that is delivered to the pod.
pub fn delivered() -> Link {
    SELF.link_back()
}

/// The tuple of a flow by a packet that its inside sends.
pub fn tuple(sent: &Datagram) -> Tuple {
    let v4 = sent.src.is_ipv4();
    let (inside_port, outside_port) = match sent.kind {
        Kind::EchoRequest => (sent.src.port().to_be(), weft_abi::ECHO),
        Kind::EchoReply => (weft_abi::ECHO, sent.dst.port().to_be()),
        _ => (sent.src.port().to_be(), sent.dst.port().to_be()),
    };
    let (inside, outside) = (sent.src.ip().into(), sent.dst.ip().into());
    Tuple::between(sent.kind.protocol(v4), (inside, inside_port), (outside, outside_port))
}

/// Fails unless two frames are the same but for the two forms of zero in checksums, and the first one's are right.
pub fn must_equal(got: &[u8], expected: &[u8]) -> Result<()> {
    checksum::verify(got).with_context(|| format!("{got:02x?}"))?;
    let (plain, wanted) = (checksum::without(got)?, checksum::without(expected)?);
    ensure!(plain == wanted, "\n   got {plain:02x?}\nwanted {wanted:02x?}");
    Ok(())
}
