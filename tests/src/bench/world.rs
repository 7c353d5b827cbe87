//! From a pod out into the world, beside kernel routing and nftables' masquerading.

use anyhow::Result;

use super::across::Ours;
use super::ends::{Aim, CONNECTIONS, Line, ROUND_TRIPS, compare};
use super::hand::{Hand, Join};
use super::{Bench, Figures, Target, progress};
use crate::exec;
use crate::fabric::{Fabric, Routing};
use crate::node::Family;

/// Measures both, each with an outside of its own.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    progress("two nodes of weft's and two that masquerade by nftables");
    let hand = Hand::lay(&bench.site, Join::Masquerade)?;
    let routed = Hand::lay(&bench.site, Join::Routes)?;
    let node = routed.fabric().member(1);
    let way = |range, family| format!("route add {range} via {}", node.address(family));
    let ways = [way("10.244.1.0/24", Family::V4), way("fd00:10:244:1::/64", Family::V6)];
    exec::ip_batch(routed.fabric().core().netns(), &[&ways[0], &ways[1]])?;
    // Pods have the MTU of the uplink, as those of the other nodes.
    let ours = Ours::start(bench, Routing::Native)?;
    for (measure, target) in [(ROUND_TRIPS, Target::AtMost(1.05)), (CONNECTIONS, Target::AtLeast(1.2))] {
        for family in Family::BOTH {
            let lines = lines(&hand, &routed, &ours, family);
            let aim = Aim { line: 1, target };
            compare(&lines, &measure, family, Some(aim), bench.rounds(4000, 500), figures)?;
        }
    }
    Ok(())
}

/// The way by hand, ours, and one without any translation: the most that there is to win.
///
/// Whom the pods talk to is on their node's own link: whatever lies beyond takes the same of all, and hides what the
/// nodes take.
fn lines<'a>(hand: &'a Hand, routed: &'a Hand, ours: &'a Ours, family: Family) -> [Line<'a>; 3] {
    let out = |label, client, fabric: &'a Fabric| {
        Line::direct(label, client, fabric.core().netns(), fabric.member(1).gateway(family))
    };
    [
        out("nftables", hand.pod(1), hand.fabric()),
        out("weft", ours.pods[0].netns(), &ours.fabric),
        out("routed, no NAT", routed.pod(1), routed.fabric()),
    ]
}
