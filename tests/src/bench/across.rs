//! From a pod to one on another node, beside the same way made by hand.

use std::sync::Arc;

use anyhow::Result;

use super::ends::{Aim, Line, ROUND_TRIPS, STREAM, compare};
use super::hand::{Hand, Join};
use super::{Bench, Figures, Target, progress};
use crate::fabric::{Fabric, Layout, Routing};
use crate::node::{Attach, Family};
use crate::pod::Pod;

/// Two nodes of ours and a pod on each. The pods go before their nodes.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) pods: Vec<Pod>,
    pub(super) fabric: Fabric,
}

impl Ours {
    pub(super) fn start(bench: &Bench, routing: Routing) -> Result<Self> {
        let fabric = Fabric::lay(&Arc::clone(&bench.site), Layout::new(routing, Attach::preferred()).nodes(2))?;
        fabric.start_agents()?;
        Ok(Self { pods: fabric.pods()?, fabric })
    }
}

/// Through the overlay, beside a kernel VXLAN device and routes.
pub(super) fn overlay(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let by_hand = Hand::lay(&bench.site, Join::Tunnel)?;
    // What of the difference is the kind of the device, not the programs.
    let metadata = Hand::lay(&bench.site, Join::Metadata)?;
    let beside = [(BY_HAND, &by_hand), ("by hand, external", &metadata)];
    measure(bench, figures, Routing::Overlay, &beside, Some(Target::AtLeast(1.0)))
}

/// By native routing, beside the kernel's.
pub(super) fn native(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let routes = Hand::lay(&bench.site, Join::Routes)?;
    measure(bench, figures, Routing::Native, &[(BY_HAND, &routes)], None)
}

const BY_HAND: &str = "by hand";

/// Ours beside others, of which the first is what it is compared with.
fn measure(
    bench: &Bench,
    figures: &mut Figures,
    routing: Routing,
    beside: &[(&'static str, &Hand)],
    stream: Option<Target>,
) -> Result<()> {
    progress(&format!("two nodes of weft's ({}) and two joined by hand", routing.name()));
    let ours = Ours::start(bench, routing)?;
    for (measure, target) in [(ROUND_TRIPS, Some(Target::AtMost(1.05))), (STREAM, stream)] {
        for family in Family::BOTH {
            let address = ours.pods[1].address(family)?;
            let weft = Line::direct("weft", ours.pods[0].netns(), ours.pods[1].netns(), address);
            let mut lines: Vec<Line<'_>> = beside.iter().map(|(label, hand)| hand.line(label, family)).collect();
            lines.insert(1, weft);
            let aim = target.map(|target| Aim { line: 1, target });
            compare(&lines, &measure, family, aim, bench.rounds(4000, 500), figures)?;
        }
    }
    Ok(())
}
