//! A node with a few pods, as its maps describe it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use weft_abi::{Addr, Pod, PodFlags, Reason};
use weft_cni::mac::Mac;

use super::{Action, Hook, IFINDEX, Outcome, Programs, Skb};
use crate::packet::craft::{self, Link};

/// A pod of the scene.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// IPv4 address.
    pub v4: Ipv4Addr,
    /// IPv6 address.
    pub v6: Ipv6Addr,
    /// Value of its entries in `pods`.
    pub pod: Pod,
}

/// The pod whose host veth the hooks run on.
pub const SELF: Cast = cast(1, IFINDEX);
/// Another pod of the node.
pub const OTHER: Cast = cast(2, 77);
/// An address that no pod has, as another node's or the world's.
pub const AWAY: Cast = cast(3, 0);
/// A MAC that no interface of the scene has.
pub const FOREIGN: Mac = Mac([0x02, 0xee, 0, 0, 0, 0xee]);

/// The programs with both pods in their maps.
#[derive(Debug)]
pub struct Scene {
    /// The loaded programs.
    pub programs: Programs,
}

const fn cast(number: u8, ifindex: u32) -> Cast {
    Cast {
        v4: Ipv4Addr::new(10, 244, 0, number),
        v6: Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, number as u16),
        pod: Pod {
            ifindex,
            flags: 0,
            endpoint_id: number as u32,
            pod_mac: [0x02, 0xaa, 0xa1, 0xa2, 0xa3, number],
            host_mac: [0x02, 0xbb, 0xb1, 0xb2, 0xb3, number],
        },
    }
}

impl Cast {
    /// Both addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The address of the same family as that one.
    pub fn like(&self, other: IpAddr) -> IpAddr {
        if other.is_ipv4() { self.v4.into() } else { self.v6.into() }
    }

    /// From its interface to the host end.
    pub fn link(&self) -> Link {
        Link { src: Mac(self.pod.pod_mac), dst: Mac(self.pod.host_mac) }
    }

    /// From the host end to its interface.
    pub fn link_back(&self) -> Link {
        Link { src: Mac(self.pod.host_mac), dst: Mac(self.pod.pod_mac) }
    }

    /// A MAC address's link-local address (RFC 4291, appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
        octets[8..11].copy_from_slice(&self.pod.pod_mac[..3]);
        octets[13..].copy_from_slice(&self.pod.pod_mac[3..]);
        octets[8] ^= 2;
        octets.into()
    }
}

impl Scene {
    /// Loads the programs and enters both pods.
    pub fn set() -> Result<Self> {
        Self::with_flags(0)
    }

    /// The same with [`SELF`] adopted from another plugin, its link's entry included.
    pub fn adopted() -> Result<Self> {
        let mut scene = Self::with_flags(PodFlags::ADOPTED)?;
        let link = Pod { flags: PodFlags::ADOPTED, ..SELF.pod }.of_link();
        scene.programs.add_key(Addr::of_link(IFINDEX), link)?;
        Ok(scene)
    }

    fn with_flags(flags: u32) -> Result<Self> {
        let mut programs = Programs::load()?;
        for (addr, pod) in SELF.addresses().map(|addr| (addr, Pod { flags, ..SELF.pod })) {
            programs.add(addr, pod)?;
        }
        for addr in OTHER.addresses() {
            programs.add(addr, OTHER.pod)?;
        }
        Ok(Self { programs })
    }

    /// What becomes of a packet that the pod sends.
    pub fn sends(&mut self, packet: impl Into<Skb>) -> Result<Outcome> {
        self.programs.run(Hook::FromPod, packet)
    }

    /// What becomes of a packet that the node sends to the pod.
    pub fn receives(&mut self, packet: impl Into<Skb>) -> Result<Outcome> {
        self.programs.run(Hook::ToPod, packet)
    }
}

impl Outcome {
    /// Fails unless this is the verdict and the packet was let go as it was.
    pub fn must_be(&self, reason: Reason) -> Result<()> {
        if self.reason != reason {
            bail!("{:?} where {reason:?} is due", self.reason);
        }
        Ok(())
    }

    /// Fails unless the packet goes on its usual way with the bytes that it came with.
    pub fn must_pass(&self, bytes: &[u8]) -> Result<()> {
        self.must_be(Reason::Passed)?;
        if self.action != Action::Next || self.bytes != bytes {
            bail!("{:?}, {:02x?} where {bytes:02x?} should pass", self.action, self.bytes);
        }
        Ok(())
    }
}

/// A UDP datagram from one address to another with the link-layer addresses of an honest pod.
pub fn udp(src: IpAddr, dst: IpAddr) -> Result<Vec<u8>> {
    craft::udp(SELF.link(), src, dst, 9, b"to be or not")
}
