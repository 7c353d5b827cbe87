//! The drop counters and records of a node, as `weft drops` tells them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weft_abi::{Direction, Reason};
use weft_cni::api::{Drop, Drops};

use crate::node::Node;

/// `weft drops -o json`.
pub fn read(node: &Node) -> Result<Drops> {
    serde_json::from_value(node.weft_json(&["drops"])?).context("the drops are of another form")
}

/// Packets counted with this verdict.
pub fn count(drops: &Drops, reason: Reason, direction: Direction) -> u64 {
    let same =
        |count: &&weft_cni::api::VerdictCount| count.reason == reason.name() && count.direction == direction.name();
    drops.counters.iter().filter(same).map(|count| count.packets).sum()
}

/// Packets of all verdicts that are drops.
pub fn total(drops: &Drops) -> u64 {
    drops.counters.iter().filter(|count| count.drop).map(|count| count.packets).sum()
}

/// Waits until a drop like this has been both counted and recorded since `before`; returns the record.
pub fn wait_for(node: &Node, before: &Drops, reason: Reason, direction: Direction) -> Result<Drop> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let now = read(node)?;
        let counted = count(&now, reason, direction) > count(before, reason, direction);
        let fresh = |drop: &&Drop| {
            drop.reason == reason.name() && drop.direction == direction.name() && !before.recent.contains(drop)
        };
        if counted && let Some(record) = now.recent.iter().rev().find(fresh) {
            return Ok(record.clone());
        }
        if Instant::now() > until {
            bail!("no {} drop since {before:?}: {now:?}", reason.name());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
