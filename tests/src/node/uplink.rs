//! A way off the node: a veth to another namespace that stands for the world.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::netns::Netns;
use crate::node::Node;
use crate::traffic::ping;
use crate::{exec, kernel};

/// The world behind a node's default routes.
#[derive(Debug)]
pub struct Uplink {
    world: Netns,
}

impl Uplink {
    /// The node's device that leads to the world.
    pub const DEVICE: &str = "up0";
    /// The world's device that leads to the node.
    pub const FAR_DEVICE: &str = "node0";
    /// The world's IPv4 address; the node is `.1`.
    pub const WORLD_V4: &str = "192.0.2.2";
    /// The world's IPv6 address; the node is `::1`.
    pub const WORLD_V6: &str = "2001:db8::2";

    /// Joins the node to a world and sets its default routes, before its agent starts.
    pub fn join(node: &Node, mtu: u32) -> Result<Self> {
        let name = node.site().unique("w");
        let world = Netns::with_loopback(&name)?;
        for netns in [node.netns(), &world] {
            // Neighbours are asked from link-local addresses, which would be detected for a second first.
            kernel::set_sysctl(netns, "net/ipv6/conf/default/accept_dad", "0")?;
        }
        exec::ip_batch(
            node.netns(),
            &[
                &format!("link add {} mtu {mtu} type veth peer name {} netns {name}", Self::DEVICE, Self::FAR_DEVICE),
                &format!("addr add 192.0.2.1/24 dev {}", Self::DEVICE),
                &format!("addr add 2001:db8::1/64 dev {} nodad", Self::DEVICE),
                &format!("link set {} up", Self::DEVICE),
            ],
        )?;
        exec::ip_batch(
            &world,
            &[
                &format!("addr add {}/24 dev {}", Self::WORLD_V4, Self::FAR_DEVICE),
                &format!("addr add {}/64 dev {} nodad", Self::WORLD_V6, Self::FAR_DEVICE),
                &format!("link set {} up mtu {mtu}", Self::FAR_DEVICE),
                // The way back to pods, which nothing translates yet.
                "route add 10.244.0.0/16 via 192.0.2.1",
                "route add fd00:10:244::/48 via 2001:db8::1",
            ],
        )?;
        exec::ip_batch(
            node.netns(),
            &[
                &format!("route add default via {}", Self::WORLD_V4),
                &format!("route add default via {}", Self::WORLD_V6),
            ],
        )?;
        Self::settle(node)?;
        Ok(Self { world })
    }

    /// Waits until the two reach each other: the kernel's worker makes an IPv6 address's local route when it gets to it.
    fn settle(node: &Node) -> Result<()> {
        for address in [Self::WORLD_V4, Self::WORLD_V6] {
            let address: IpAddr = address.parse()?;
            let answered = (0..10).any(|_| ping::ping(node.netns(), address, 1).is_ok_and(|report| report.lost() == 0));
            ensure!(answered, "the world at {address} does not answer");
        }
        Ok(())
    }

    /// The world's namespace.
    pub fn world(&self) -> &Netns {
        &self.world
    }
}
