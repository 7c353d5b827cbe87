//! What three mappings and limits add to an ADD: ours, and portmap's and bandwidth's behind a bridge.

use anyhow::Result;
use serde_json::{Value, json};

use super::chain::Chain;
use super::requests::{settle, timed};
use super::statistics::{median, turns};
use super::{Bench, Figures, Target, progress};
use crate::publish::mapping;

/// An ADD with and without them, pods coming and going in turns.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(50, 15);
    let sandboxes = bench.sandboxes()?;
    progress(&format!("{rounds} ADDs with and without mappings and limits, of weft and of the reference plugins"));
    let (weft, bridge, full) =
        (Chain::weft(&bench.site)?, Chain::masquerading(&bench.site)?, Chain::full(&bench.site)?);
    let (none, some) = (json!({}), wishes());
    let adds: [(&str, &Chain, &Value); 4] = [
        ("weft", &weft, &none),
        ("weft, with both", &weft, &some),
        ("bridge", &bridge, &none),
        ("bridge, portmap and bandwidth", &full, &some),
    ];
    let mut times = vec![Vec::new(); adds.len()];
    // The first round pays for what only the first ADD costs.
    for round in 0..=rounds {
        for index in turns(round, adds.len()) {
            let (_, chain, wishes) = adds[index];
            let sandbox = &sandboxes[(round * adds.len() + index) % sandboxes.len()];
            let (took, pod) = chain.netns().enter(|| timed(|| chain.add_wishing(sandbox, wishes)))??;
            settle();
            chain.netns().enter(|| chain.del(&pod))??;
            settle();
            if round > 0 {
                times[index].push(took);
            }
        }
    }
    for ((label, _, _), times) in adds.iter().zip(&times) {
        figures.note(format!("ADD p50, {label}"), median(times), "ms");
    }
    let added = |plain: usize, with: usize| {
        let differences: Vec<f64> = times[with].iter().zip(&times[plain]).map(|(with, plain)| with - plain).collect();
        median(&differences)
    };
    figures.aim("mappings and limits add, weft", added(0, 1), "ms", Target::AtMost(3.0));
    figures.note("mappings and limits add, portmap and bandwidth", added(2, 3), "ms");
    Ok(())
}

fn wishes() -> Value {
    json!({
        "portMappings": [mapping(20_000, 80, "tcp"), mapping(20_001, 443, "tcp"), mapping(20_002, 53, "udp")],
        "bandwidth": {
            "ingressRate": 1_000_000_000, "ingressBurst": 10_000_000,
            "egressRate": 1_000_000_000, "egressBurst": 10_000_000,
        },
    })
}
