//! Two nodes joined by hand with what the kernel has: routes, a VXLAN device, nftables. What weft is measured against.
//!
//! Underlay, pods' addresses and their gateway are weft's, so both differ in nothing but the datapath.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::ends::Line;
use crate::exec;
use crate::fabric::{Fabric, Layout, Member, Routing};
use crate::kernel;
use crate::need;
use crate::netns::Netns;
use crate::node::Family;
use crate::pod::Sandbox;
use crate::site::Site;

/// How the nodes reach what is beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// A VXLAN device with permanent entries, and routes over it.
    Tunnel,
    /// A VXLAN device for packets that bring their tunnel, as weft's is, and routes that tell them.
    Metadata,
    /// Routes by the other node's address.
    Routes,
    /// As [`Join::Routes`], and masquerading for what leaves the pod ranges.
    Masquerade,
}

/// A fabric without agents, and a pod on each node.
#[derive(Debug)]
pub(super) struct Hand {
    fabric: Fabric,
    pods: Vec<Sandbox>,
}

const TUNNEL: &str = "vx0";
const HOST_END: &str = "pod0";
const HOST_MAC: &str = "02:00:00:00:01:01";
const POD_MAC: &str = "02:00:00:00:01:02";
/// What VXLAN over IPv4 takes of 1500 bytes.
const TUNNEL_MTU: u32 = 1450;

impl Hand {
    /// Two nodes.
    pub(super) fn lay(site: &Arc<Site>, join: Join) -> Result<Self> {
        let fabric = Fabric::lay(site, Layout::new(Routing::Native, None).nodes(2))?;
        let mut pods = Vec::new();
        for member in fabric.members() {
            kernel::set_sysctl(member.node().netns(), "net/ipv4/ip_forward", "1")?;
            kernel::set_sysctl(member.node().netns(), "net/ipv6/conf/all/forwarding", "1")?;
            let mtu = if matches!(join, Join::Tunnel | Join::Metadata) { TUNNEL_MTU } else { 1500 };
            pods.push(pod(site, member, mtu)?);
            for other in fabric.members().iter().filter(|other| other.number() != member.number()) {
                match join {
                    Join::Tunnel => tunnel(member, other)?,
                    Join::Metadata => metadata(member, other)?,
                    Join::Routes | Join::Masquerade => routes(member, other)?,
                }
            }
            if join == Join::Masquerade {
                masquerade(member)?;
            }
        }
        Ok(Self { fabric, pods })
    }

    pub(super) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The namespace of the pod on the node of that number, from 1.
    pub(super) fn pod(&self, number: usize) -> &Netns {
        &self.pods[number - 1].netns
    }

    /// The line from the first node's pod to the second's.
    pub(super) fn line(&self, label: &'static str, family: Family) -> Line<'_> {
        Line::direct(label, self.pod(1), self.pod(2), Self::address(2, family))
    }

    /// The address of the pod on the node of that number.
    pub(super) fn address(number: u8, family: Family) -> IpAddr {
        match family {
            Family::V4 => [10, 244, number, 2].into(),
            Family::V6 => [0xfd00, 0x10, 0x244, number.into(), 0, 0, 0, 2].into(),
        }
    }
}

/// A pod behind a veth that is routed on both ends, with permanent neighbours.
fn pod(site: &Arc<Site>, member: &Member, mtu: u32) -> Result<Sandbox> {
    let sandbox = Sandbox::on(Arc::clone(site))?;
    let node = member.node().netns();
    let [v4, v6] = Family::BOTH.map(|family| Hand::address(member.number(), family));
    exec::ip_batch(
        &sandbox.netns,
        &[
            &format!(
                "link add eth0 address {POD_MAC} mtu {mtu} type veth \
                 peer name {HOST_END} address {HOST_MAC} mtu {mtu} netns {}",
                node.name()
            ),
            "link set lo up",
            &format!("addr add {v4}/32 dev eth0"),
            &format!("addr add {v6}/128 dev eth0 nodad"),
            "link set eth0 up",
            &format!("neigh add 169.254.1.1 lladdr {HOST_MAC} dev eth0 nud permanent"),
            &format!("neigh add fe80::1 lladdr {HOST_MAC} dev eth0 nud permanent"),
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1 dev eth0",
            "route add default via fe80::1 dev eth0",
        ],
    )?;
    exec::ip_batch(
        node,
        &[
            &format!("link set {HOST_END} up"),
            &format!("neigh add {v4} lladdr {POD_MAC} dev {HOST_END} nud permanent"),
            &format!("neigh add {v6} lladdr {POD_MAC} dev {HOST_END} nud permanent"),
            &format!("route add {v4}/32 dev {HOST_END}"),
            &format!("route add {v6}/128 dev {HOST_END}"),
        ],
    )?;
    Ok(sandbox)
}

/// The other node's range by its own VXLAN device; `encap` is what a route tells of the tunnel.
fn over_tunnel(member: &Member, other: &Member, device: &str, encap: &str) -> Result<()> {
    let (own, far) = (member.number(), other.number());
    exec::ip_batch(
        member.node().netns(),
        &[
            &format!("link add {TUNNEL} type vxlan {device} dstport 8472 nolearning"),
            &format!("link set {TUNNEL} address {} mtu {TUNNEL_MTU} up", tunnel_mac(own)),
            &format!("neigh add 10.244.{far}.0 lladdr {} dev {TUNNEL} nud permanent", tunnel_mac(far)),
            &format!("neigh add fe80::{far} lladdr {} dev {TUNNEL} nud permanent", tunnel_mac(far)),
            &format!("route add 10.244.{far}.0/24 {encap} via 10.244.{far}.0 dev {TUNNEL} onlink"),
            &format!("route add fd00:10:244:{far}::/64 {encap} via fe80::{far} dev {TUNNEL}"),
        ],
    )
}

fn tunnel_mac(number: u8) -> String {
    format!("02:00:00:00:02:{number:02x}")
}

fn tunnel(member: &Member, other: &Member) -> Result<()> {
    let [local, remote] = [member, other].map(|member| member.address(Family::V4).to_string());
    over_tunnel(member, other, &format!("id 1 local {local}"), "")?;
    let entry = ["fdb", "append", &tunnel_mac(other.number()), "dev", TUNNEL, "dst", &remote];
    exec::tool_in(member.node().netns(), "bridge", &entry).map(drop)
}

fn metadata(member: &Member, other: &Member) -> Result<()> {
    let remote = other.address(Family::V4);
    over_tunnel(member, other, "external", &format!("encap ip id 1 dst {remote}"))
}

fn routes(member: &Member, other: &Member) -> Result<()> {
    let far = other.number();
    let [v4, v6] = Family::BOTH.map(|family| other.address(family));
    exec::ip_batch(
        member.node().netns(),
        &[&format!("route add 10.244.{far}.0/24 via {v4}"), &format!("route add fd00:10:244:{far}::/64 via {v6}")],
    )
}

fn masquerade(member: &Member) -> Result<()> {
    let uplink = Member::UPLINK;
    let rules = format!(
        "table inet hand {{\n\
         chain out {{\n\
         type nat hook postrouting priority srcnat;\n\
         oifname {uplink} ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade\n\
         oifname {uplink} ip6 saddr fd00:10:244::/48 ip6 daddr != fd00:10:244::/48 masquerade\n\
         }}\n}}\n"
    );
    let mut command = Command::new(need::tool("nft")?);
    command.args(["-f", "-"]);
    let output = member.node().netns().enter(|| exec::output(&mut command, rules.as_bytes()))??;
    ensure!(output.status.success(), "nft: {}", output.complaint().trim());
    Ok(())
}
