//! kube-proxy's rules, as it writes them in each of its modes.

mod iptables;
mod nftables;
mod scene;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::netns::Netns;
use crate::node::Family;
use crate::{exec, need};

pub use scene::{Backend, Scene};

/// What kube-proxy marks for masquerading.
const MASQUERADE: &str = "0x4000";

/// How kube-proxy talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `nftables`.
    Nftables,
    /// `iptables`, by the kernel's `nf_tables`.
    Iptables,
    /// `iptables`, by the kernel's older tables.
    Legacy,
}

/// A protocol of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A pod behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it lives on the node whose rules are written.
    pub local: bool,
}

/// A port of a service, as one node sees it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, which no other has.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address and port inside the cluster.
    pub cluster: SocketAddr,
    /// Its addresses outside the cluster, with the same port: `externalIPs`, and those of its load balancers.
    pub outer: Vec<IpAddr>,
    /// Its port of every node.
    pub node_port: Option<u16>,
    /// `externalTrafficPolicy: Local`: nodes ask only their own pods, and clients keep their addresses.
    pub local: bool,
    /// `sessionAffinity: ClientIP`.
    pub affinity: bool,
    /// Who serves it.
    pub endpoints: Vec<Endpoint>,
}

/// What kube-proxy of one node knows besides services.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// `--cluster-cidr` of the family.
    pub pods: &'static str,
    /// Where ports of the node are asked for, in the mode that asks for addresses.
    pub node: IpAddr,
}

impl Site {
    /// A fabric's node with this address.
    pub fn new(node: IpAddr) -> Self {
        Self { pods: if node.is_ipv4() { "10.244.0.0/16" } else { "fd00:10:244::/48" }, node }
    }
}

impl Mode {
    /// Makes these services of one family the node's, and no others.
    pub fn apply(self, netns: &Netns, site: Site, services: &[Service]) -> Result<()> {
        let family = if site.node.is_ipv4() { Family::V4 } else { Family::V6 };
        let older = match (self, family) {
            (Self::Nftables, _) => {
                return feed(netns, "nft", &["-f", "-"], &nftables::rules(family, site, services));
            }
            (Self::Iptables, Family::V4) => "iptables-nft-restore",
            (Self::Iptables, Family::V6) => "ip6tables-nft-restore",
            (Self::Legacy, Family::V4) => "iptables-legacy-restore",
            (Self::Legacy, Family::V6) => "ip6tables-legacy-restore",
        };
        feed(netns, older, &[], &iptables::rules(family, site, services))
    }
}

/// Gives a program of a namespace its standard input.
fn feed(netns: &Netns, program: &str, args: &[&str], text: &str) -> Result<()> {
    let mut command = Command::new(need::tool(program)?);
    let output = netns.enter(|| exec::output(command.args(args), text.as_bytes()))??;
    if !output.status.success() {
        bail!("{program} in {}: {}\n{text}", netns.name(), output.complaint().trim());
    }
    Ok(())
}

/// Counts what the node's stack forwards, and how much of that its connection tracking finds invalid. Leaves a mark on
/// all of it (the one by which the kubelet has had packets dropped), as rules of others do.
pub fn watch(netns: &Netns) -> Result<()> {
    let text = "table inet watch {\n\
                chain forward {\n\
                type filter hook forward priority -300;\n\
                ct state invalid counter comment \"invalid\"\n\
                meta mark set meta mark or 0x8000\n\
                counter comment \"all\"\n\
                }\n\
                }\n";
    feed(netns, "nft", &["-f", "-"], text)
}

/// What the stack has forwarded since [`watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Packets.
    pub all: u64,
    /// Those of which connection tracking makes nothing: kube-proxy drops them.
    pub invalid: u64,
}

/// Reads the counts of [`watch`].
pub fn forwarded(netns: &Netns) -> Result<Forwarded> {
    let text = exec::tool_in(netns, "nft", &["-j", "list", "chain", "inet", "watch", "forward"])?;
    let listed: serde_json::Value = serde_json::from_str(&text).context("nft's answer")?;
    let count = |comment: &str| {
        let rules = listed["nftables"].as_array()?.iter().map(|entry| &entry["rule"]);
        let rule = rules.into_iter().find(|rule| rule["comment"] == comment)?;
        rule["expr"].as_array()?.iter().find_map(|part| part["counter"]["packets"].as_u64())
    };
    let count = |comment| count(comment).with_context(|| format!("no counter {comment:?} in {text}"));
    Ok(Forwarded { all: count("all")?, invalid: count("invalid")? })
}

/// A test function for each routing and mode: `fn(Routing, Mode) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! in_every_mode {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::fabric::Routing;
            use $crate::proxy::Mode;

            #[test]
            fn overlay_nftables() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Mode::Nftables)
            }

            #[test]
            fn overlay_iptables() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Mode::Iptables)
            }

            #[test]
            fn overlay_legacy() -> anyhow::Result<()> {
                super::$name(Routing::Overlay, Mode::Legacy)
            }

            #[test]
            fn native_nftables() -> anyhow::Result<()> {
                super::$name(Routing::Native, Mode::Nftables)
            }

            #[test]
            fn native_iptables() -> anyhow::Result<()> {
                super::$name(Routing::Native, Mode::Iptables)
            }

            #[test]
            fn native_legacy() -> anyhow::Result<()> {
                super::$name(Routing::Native, Mode::Legacy)
            }
        }
    )+};
}
