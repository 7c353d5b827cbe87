//! What lies between nodes and world: a switch that is a router too.
//!
//! It knows nothing of pods: a pod that reaches beyond it without the node's address gets no answer.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Layout;
use crate::netns::Netns;
use crate::{exec, kernel};

/// The switch and router.
#[derive(Debug)]
pub struct Core {
    netns: Netns,
}

impl Core {
    /// The bridge of all nodes' links; a capture here sees what is for the router.
    pub const SWITCH: &str = "switch0";
    /// The device towards the world.
    pub const TO_WORLD: &str = "world0";
    /// The device towards the node that is on a link of its own.
    pub const TO_FAR: &str = "far0";
    /// The device towards the first node's second uplink.
    pub const TO_SECOND: &str = "second0";

    pub(super) fn lay(fabric: &str) -> Result<Self> {
        let netns = Netns::with_loopback(&format!("{fabric}-core"))?;
        quiet(&netns)?;
        // Where the kernel can filter what a bridge carries, this one shall not.
        for table in ["iptables", "ip6tables"] {
            let name = format!("net/bridge/bridge-nf-call-{table}");
            if netns.enter(|| fs::exists(Path::new("/proc/sys").join(&name)))?? {
                kernel::set_sysctl(&netns, &name, "0")?;
            }
        }
        kernel::set_sysctl(&netns, "net/ipv4/ip_forward", "1")?;
        kernel::set_sysctl(&netns, "net/ipv6/conf/all/forwarding", "1")?;
        exec::ip_batch(
            &netns,
            &[
                &format!("link add {} type bridge mcast_snooping 0", Self::SWITCH),
                &format!("addr add 192.0.2.1/24 dev {}", Self::SWITCH),
                &format!("addr add 2001:db8::1/64 dev {} nodad", Self::SWITCH),
                &format!("link set {} up", Self::SWITCH),
            ],
        )?;
        Ok(Self { netns })
    }

    /// The switch's port of a node: a capture here sees whatever the node sends and is sent.
    pub fn port(number: u8) -> String {
        format!("n{number}")
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A world behind the router.
    pub(super) fn join_world(&self, fabric: &str, layout: &Layout) -> Result<Netns> {
        let world = Netns::with_loopback(&format!("{fabric}-world"))?;
        quiet(&world)?;
        let mtu = layout.world_mtu;
        exec::ip_batch(
            &self.netns,
            &[
                &format!(
                    "link add {} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}",
                    Self::TO_WORLD,
                    world.name()
                ),
                &format!("addr add 198.51.100.1/24 dev {}", Self::TO_WORLD),
                &format!("addr add 2001:db8:51::1/64 dev {} nodad", Self::TO_WORLD),
                &format!("link set {} up", Self::TO_WORLD),
            ],
        )?;
        exec::ip_batch(
            &world,
            &[
                "addr add 198.51.100.2/24 dev eth0",
                "addr add 2001:db8:51::2/64 dev eth0 nodad",
                "addr add 198.51.100.3/24 dev eth0",
                // Reached, and never chosen as a source.
                "addr add 2001:db8:51::3/64 dev eth0 nodad preferred_lft 0",
                "link set eth0 up",
                "route add default via 198.51.100.1",
                "route add default via 2001:db8:51::1",
            ],
        )?;
        Ok(world)
    }
}

/// Without duplicate address detection, which would take a second.
pub(super) fn quiet(netns: &Netns) -> Result<()> {
    kernel::set_sysctl(netns, "net/ipv6/conf/all/accept_dad", "0")?;
    kernel::set_sysctl(netns, "net/ipv6/conf/default/accept_dad", "0")
}
