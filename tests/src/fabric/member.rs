//! A node of a fabric.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::core::{self, Core};
use super::{Layout, Peer};
use crate::exec;
use crate::node::{Family, Joined, Node, Settings};
use crate::site::Site;

/// A node with its place on the underlay.
#[derive(Debug)]
pub struct Member {
    node: Node,
    number: u8,
    far: bool,
}

impl Member {
    /// The device that leads to the other nodes and the world.
    pub const UPLINK: &str = "up0";
    /// The second one of a node that has two.
    pub const SECOND: &str = "up1";

    pub(super) fn lay(site: &Arc<Site>, fabric: &str, core: &Core, layout: &Layout, number: u8) -> Result<Self> {
        let name = format!("{fabric}-n{number}");
        let dir = site.dir().join(&name);
        let mut settings = Settings::new(layout.attach)
            .pools(&[&format!("10.244.{number}.0/24"), &format!("fd00:10:244:{number}::/64")])
            .flag(&format!("--routing={}", layout.routing.name()));
        match &layout.api_server {
            Some(url) => settings.cluster = Some(Joined::below(&dir, url)),
            None => settings.extra.push(format!("--peers={}", dir.join(PEERS).display())),
        }
        settings.node_name = format!("n{number}");
        settings.sees_cgroups = layout.cgroups;
        settings.extra.extend(layout.flags.iter().cloned());
        let node = Node::named(Arc::clone(site), &name, settings)?;
        core::quiet(node.netns())?;
        let member = Self { node, number, far: layout.far && number == layout.nodes };
        member.join(core)?;
        if layout.second_uplink && number == 1 {
            member.join_second(core)?;
        }
        Ok(member)
    }

    fn join(&self, core: &Core) -> Result<()> {
        let [v4, v6] = Family::BOTH.map(|family| self.address(family));
        let [via4, via6] = Family::BOTH.map(|family| self.gateway(family));
        let port = if self.far { Core::TO_FAR.to_owned() } else { Core::port(self.number) };
        exec::ip_batch(
            self.node.netns(),
            &[
                &format!("link add {} type veth peer name {port} netns {}", Self::UPLINK, core.netns().name()),
                &format!("addr add {v4}/24 dev {}", Self::UPLINK),
                &format!("addr add {v6}/64 dev {} nodad", Self::UPLINK),
                &format!("link set {} up", Self::UPLINK),
                &format!("route add default via {via4}"),
                &format!("route add default via {via6}"),
            ],
        )?;
        if self.far {
            let lines = [format!("addr add {via4}/24 dev {port}"), format!("addr add {via6}/64 dev {port} nodad")];
            exec::ip_batch(core.netns(), &[&lines[0], &lines[1], &format!("link set {port} up")])
        } else {
            exec::ip_batch(core.netns(), &[&format!("link set {port} master {} up", Core::SWITCH)])
        }
    }

    fn join_second(&self, core: &Core) -> Result<()> {
        exec::ip_batch(
            self.node.netns(),
            &[
                &format!(
                    "link add {} type veth peer name {} netns {}",
                    Self::SECOND,
                    Core::TO_SECOND,
                    core.netns().name()
                ),
                &format!("addr add 198.18.0.11/24 dev {}", Self::SECOND),
                &format!("addr add 2001:db8:18::11/64 dev {} nodad", Self::SECOND),
                &format!("link set {} up", Self::SECOND),
            ],
        )?;
        exec::ip_batch(
            core.netns(),
            &[
                &format!("addr add 198.18.0.1/24 dev {}", Core::TO_SECOND),
                &format!("addr add 2001:db8:18::1/64 dev {} nodad", Core::TO_SECOND),
                &format!("link set {} up", Core::TO_SECOND),
            ],
        )?;
        // For when the first one fails.
        let routes =
            ["route add default via 198.18.0.1 metric 4096", "route add default via 2001:db8:18::1 metric 4096"];
        exec::ip_batch(self.node.netns(), &routes)
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its address on the underlay.
    pub fn address(&self, family: Family) -> IpAddr {
        let (host, long) = (10 + self.number, 0x10 + u16::from(self.number));
        match (family, self.far) {
            (Family::V4, false) => [192, 0, 2, host].into(),
            (Family::V4, true) => [203, 0, 113, host].into(),
            (Family::V6, false) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, long].into(),
            (Family::V6, true) => [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, long].into(),
        }
    }

    /// The router as this node sees it.
    pub fn gateway(&self, family: Family) -> IpAddr {
        match (family, self.far) {
            (Family::V4, false) => [192, 0, 2, 1].into(),
            (Family::V4, true) => [203, 0, 113, 1].into(),
            (Family::V6, false) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            (Family::V6, true) => [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1].into(),
        }
    }

    /// Where its agent reads the peers.
    pub fn peers_file(&self) -> PathBuf {
        self.node.dir().join(PEERS)
    }

    /// How others know it.
    pub fn as_peer(&self, underlay: &[Family]) -> Peer {
        Peer {
            name: self.node.settings().node_name.clone(),
            addresses: underlay.iter().map(|family| self.address(*family)).collect(),
            pod_cidrs: self.node.settings().pod_cidrs.clone(),
        }
    }

    /// What `weft` says, as JSON; a failure names the node.
    pub fn weft(&self, args: &[&str]) -> Result<serde_json::Value> {
        self.node.weft_json(args).with_context(|| format!("on n{}", self.number))
    }
}

const PEERS: &str = "peers.toml";
