//! Ports of the node that are pods': beside the pods' own, beside Debian's portmap plugin, and with many of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::ends::{Aim, CONNECTIONS, Line, PORT, ROUND_TRIPS, compare, family_name, send};
use super::statistics::{median, median_ratio};
use super::{Bench, Figures, Target, progress};
use crate::fabric::{Fabric, Layout, Routing};
use crate::netns::Netns;
use crate::node::{Attach, Family};
use crate::pod::{Pod, Sandbox};
use crate::publish::{asking, loopback, mapping};
use crate::runtime::{Attachment, Network};
use crate::{exec, kernel};

/// Mappings on each of our nodes.
const OURS: [u16; 4] = [1, 100, 1_000, 10_000];
/// Mappings on each node of the reference plugins: every further pod there waits for all rules before it.
const REFERENCE: [u16; 3] = [1, 100, 1_000];
/// The first of the ports that only make the tables long.
const FIRST_FILLER: u16 = 10_000;

/// A node with so many mappings, of which [`PORT`] leads to a pod.
#[derive(Debug)]
struct Served {
    label: &'static str,
    published: Pod,
    _fillers: Vec<Pod>,
    fabric: Fabric,
}

impl Served {
    /// The line from the node's link to the published port.
    fn line(&self, family: Family) -> Result<Line<'_>> {
        self.asked(self.fabric.core().netns(), family, self.fabric.member(1).address(family))
    }

    /// The line from a client that asks for this address of the node.
    fn asked<'a>(&'a self, client: &'a Netns, family: Family, asked: std::net::IpAddr) -> Result<Line<'a>> {
        let address = self.published.address(family)?;
        Ok(Line { asked: Some(asked), ..Line::direct(self.label, client, self.published.netns(), address) })
    }

    /// Ours, with pods of up to 1,000 ports each beside it.
    fn weft(bench: &Bench, count: u16) -> Result<Self> {
        let fabric = fabric(bench)?;
        fabric.start_agents()?;
        let node = fabric.node(1);
        let fillers: Vec<Value> =
            (FIRST_FILLER..).take((count - 1).into()).map(|port| mapping(port, port, "tcp")).collect();
        let fillers = fillers.chunks(1_000).map(|chunk| Pod::attach(node, &asking(&node.network(), chunk)));
        let fillers = fillers.collect::<Result<Vec<_>>>()?;
        let published = Pod::attach(node, &asking(&node.network(), &[mapping(PORT, PORT, "tcp")]))?;
        Ok(Self { label: label(&OURS_LABELS, &OURS, count), published, _fillers: fillers, fabric })
    }

    /// `bridge` and `portmap`, with rules for pods of ten ports each before and behind it.
    fn reference(bench: &Bench, count: u16) -> Result<Self> {
        let fabric = fabric(bench)?;
        let node = fabric.node(1);
        for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            kernel::set_sysctl(node.netns(), name, "1")?;
        }
        kernel::set_sysctl(node.netns(), "net/ipv6/conf/default/accept_dad", "0")?;
        let network = reference_network(&fabric);
        let fillers: Vec<u16> = (FIRST_FILLER..).take((count - 1).into()).collect();
        let (before, behind) = fillers.split_at(fillers.len() / 2);
        fill(&network, node.netns(), before)?;
        let sandbox = Sandbox::on(Arc::clone(&bench.site))?;
        kernel::set_sysctl(&sandbox.netns, "net/ipv6/conf/default/accept_dad", "0")?;
        let published = Pod::attach_as(node, &asking(&network, &[mapping(PORT, PORT, "tcp")]), sandbox)?;
        fill(&network, node.netns(), behind)?;
        Ok(Self { label: label(&REFERENCE_LABELS, &REFERENCE, count), published, _fillers: Vec::new(), fabric })
    }
}

const OURS_LABELS: [&str; 4] = ["weft", "weft, 100 mappings", "weft, 1,000 mappings", "weft, 10,000 mappings"];
const REFERENCE_LABELS: [&str; 3] = ["portmap", "portmap, 100 mappings", "portmap, 1,000 mappings"];

fn label<const N: usize>(labels: &[&'static str; N], counts: &[u16; N], count: u16) -> &'static str {
    counts.iter().position(|one| *one == count).map_or("", |at| labels[at])
}

fn fabric(bench: &Bench) -> Result<Fabric> {
    Fabric::lay(&bench.site, Layout::new(Routing::Native, Attach::preferred()).nodes(1))
}

/// A bridge and `portmap`, with addresses of both families.
fn reference_network(fabric: &Fabric) -> Network {
    let ipam = json!({
        "type": "host-local",
        "dataDir": fabric.node(1).dir().join("host-local"),
        "ranges": [[{ "subnet": "10.22.0.0/16" }], [{ "subnet": "fd00:10:22::/64" }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
    });
    let bridge = json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": ipam });
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    Network::of(vec![bridge, portmap]).named("reference").version("1.0.0")
}

/// Has `portmap` write its rules for pods that need not exist.
fn fill(network: &Network, node: &Netns, ports: &[u16]) -> Result<()> {
    let portmap = network.plugins.last().context("a chain without portmap")?;
    for chunk in ports.chunks(10) {
        let mappings: Vec<Value> = chunk.iter().map(|port| mapping(*port, *port, "tcp")).collect();
        let attachment = Attachment {
            container_id: format!("filler-{}", chunk[0]),
            netns: node.path().to_owned(),
            ifname: "eth0".into(),
            args: String::new(),
        };
        let result = json!({
            "cniVersion": network.cni_version,
            "interfaces": [{ "name": "eth0", "sandbox": node.path() }],
            "ips": [
                { "address": "10.22.255.9/16", "interface": 0 }, { "address": "fd00:10:22::ff09/64", "interface": 0 },
            ],
        });
        let config = asking(network, &mappings).config(portmap, Some(&result));
        network.run(node, portmap, attachment.env("ADD"), &config).context("fill portmap's rules")?;
    }
    Ok(())
}

pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let (ours, reference) = if bench.quick { (&OURS[..], &REFERENCE[..2]) } else { (&OURS[..], &REFERENCE[..]) };
    progress(&format!("nodes of ours with {ours:?} mappings, and of portmap with {reference:?}"));
    let ours = ours.iter().map(|count| Served::weft(bench, *count)).collect::<Result<Vec<_>>>()?;
    let reference = reference.iter().map(|count| Served::reference(bench, *count)).collect::<Result<Vec<_>>>()?;
    beside_the_pod(bench, &ours[0], figures)?;
    for family in Family::BOTH {
        connections(bench, &ours, &reference, family, figures)?;
    }
    Ok(())
}

/// Round trips by the port, beside those to a pod itself: from the node's link, and from the node by its loopback.
fn beside_the_pod(bench: &Bench, served: &Served, figures: &mut Figures) -> Result<()> {
    let (fabric, node) = (&served.fabric, served.fabric.node(1));
    let direct = node.pod()?;
    let way = |range: &str, family| format!("route add {range} via {}", fabric.member(1).address(family));
    let ways = [way("10.244.1.0/24", Family::V4), way("fd00:10:244:1::/64", Family::V6)];
    exec::ip_batch(fabric.core().netns(), &[&ways[0], &ways[1]])?;
    for family in Family::BOTH {
        let to_pod = |label, client| {
            Ok::<_, anyhow::Error>(Line::direct(label, client, direct.netns(), direct.address(family)?))
        };
        let outside = fabric.core().netns();
        let lines = [to_pod("pod, from outside", outside)?, Line { label: "hostPort", ..served.line(family)? }];
        let aim = Aim { line: 1, target: Target::AtMost(1.08) };
        compare(&lines, &ROUND_TRIPS, family, Some(aim), bench.rounds(4000, 700), figures)?;
        let by_loopback = served.asked(node.netns(), family, loopback(family))?;
        let lines = [to_pod("pod, from the node", node.netns())?, Line { label: "loopback hostPort", ..by_loopback }];
        let aim = Aim { line: 1, target: Target::AtMost(1.01) };
        compare(&lines, &ROUND_TRIPS, family, Some(aim), bench.rounds(4000, 700), figures)?;
    }
    Ok(())
}

/// New connections on all nodes in turns.
fn connections(
    bench: &Bench,
    ours: &[Served],
    reference: &[Served],
    family: Family,
    figures: &mut Figures,
) -> Result<()> {
    let all: Vec<&Served> = ours.iter().chain(reference).collect();
    let title = format!("{}, {}", CONNECTIONS.name, family_name(family));
    progress(&format!("{title}, {} lines in turns", all.len()));
    let lines = all.iter().map(|served| served.line(family)).collect::<Result<Vec<_>>>()?;
    let turns = send(&lines, &CONNECTIONS, bench.rounds(4000, 700))?;
    for (served, values) in all.iter().zip(&turns) {
        figures.note(format!("{title}, {}", served.label), median(values), CONNECTIONS.unit);
    }
    let (own, others) = turns.split_at(ours.len());
    for (served, values) in ours.iter().zip(own).skip(1) {
        let name = format!("{title}, {} / weft", served.label);
        figures.aim(name, median_ratio(values, &own[0]), "", Target::AtLeast(0.97));
    }
    for (place, (served, values)) in reference.iter().zip(others).enumerate() {
        let ratio = median_ratio(&own[place], values);
        figures.aim(format!("{title}, weft / {}", served.label), ratio, "", Target::AtLeast(1.3));
    }
    Ok(())
}
