//! Several nodes on one underlay and a world behind a router.
//!
//! Node `N` has the pod ranges `10.244.N.0/24` and `fd00:10:244:N::/64` and the addresses `192.0.2.1N` and
//! `2001:db8::1N`; the world is `198.51.100.2` and `2001:db8:51::2`. Neither router nor world has a route to pods.

mod core;
mod layout;
mod member;
mod peers;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::node::{Family, Node};
use crate::packet::FrameSocket;
use crate::pod::Pod;
use crate::site::Site;
use crate::traffic::ping;
use crate::{exec, storm};

pub use core::Core;
pub use layout::{Layout, Routing};
pub use member::Member;
pub use peers::{Peer, replace, text};

/// Nodes, underlay and world; everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Fabric {
    members: Vec<Member>,
    world: Netns,
    core: Core,
    layout: Layout,
}

impl Fabric {
    /// A fabric whose agents are ready and know each other.
    pub fn start(layout: Layout) -> Result<Self> {
        let fabric = Self::lay(&Site::of_tests()?, layout)?;
        fabric.start_agents()?;
        Ok(fabric)
    }

    /// A fabric without agents.
    pub fn lay(site: &Arc<Site>, layout: Layout) -> Result<Self> {
        let name = site.unique("f");
        let core = Core::lay(&name)?;
        let world = core.join_world(&name, &layout)?;
        let members = (1..=layout.nodes).map(|number| Member::lay(site, &name, &core, &layout, number));
        let members = members.collect::<Result<Vec<_>>>()?;
        let fabric = Self { members, world, core, layout };
        fabric.settle()?;
        for member in fabric.members.iter().filter(|_| fabric.layout.api_server.is_none()) {
            fabric.tell(member, &fabric.others(member))?;
        }
        if fabric.layout.far && fabric.layout.routing == Routing::Native {
            fabric.route_pods()?;
        }
        Ok(fabric)
    }

    /// Starts every agent and waits until all are ready.
    pub fn start_agents(&self) -> Result<()> {
        storm::all_at_once(&self.members, |member| member.node().start_agent().map(drop)).into_iter().collect()
    }

    /// A pod on every node, in their order.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        self.members.iter().map(|member| member.node().pod()).collect()
    }

    /// The node of that number, from 1.
    pub fn member(&self, number: usize) -> &Member {
        &self.members[number - 1]
    }

    /// The node of that number, from 1.
    pub fn node(&self, number: usize) -> &Node {
        self.member(number).node()
    }

    /// All of them.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The world's namespace.
    pub fn world(&self) -> &Netns {
        &self.world
    }

    /// The first address of the world.
    pub fn world_address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => [198, 51, 100, 2].into(),
            Family::V6 => [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2].into(),
        }
    }

    /// The switch and router.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Listens to everything on a node's link.
    pub fn listen(&self, member: &Member) -> Result<FrameSocket> {
        FrameSocket::open(self.core.netns(), &Core::port(member.number()))
    }

    /// What it was made to be.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Every node but this one, as it should know them.
    pub fn others(&self, member: &Member) -> Vec<Peer> {
        let others = self.members.iter().filter(|other| other.number() != member.number());
        others.map(|other| other.as_peer(&self.layout.underlay)).collect()
    }

    /// Writes a node's peers file.
    pub fn tell(&self, member: &Member, peers: &[Peer]) -> Result<()> {
        replace(&member.peers_file(), &text(peers))
    }

    /// The network's own routes to the pods, for nodes that share no link.
    fn route_pods(&self) -> Result<()> {
        for member in &self.members {
            for (cidr, family) in member.node().settings().pod_cidrs.iter().zip(Family::BOTH) {
                let line = format!("route add {cidr} via {}", member.address(family));
                exec::ip_batch(self.core.netns(), &[&line])?;
            }
        }
        Ok(())
    }

    /// Waits until all reach all: neighbours are known, and what the kernel does behind our back is done.
    fn settle(&self) -> Result<()> {
        for member in &self.members {
            for family in Family::BOTH {
                let others = self.members.iter().map(|other| other.address(family));
                for address in others.chain([self.world_address(family)]) {
                    let answered = (0..10)
                        .any(|_| ping::ping(member.node().netns(), address, 1).is_ok_and(|report| report.lost() == 0));
                    answered
                        .then_some(())
                        .with_context(|| format!("n{} hears nothing of {address}", member.number()))?;
                }
            }
        }
        Ok(())
    }
}
