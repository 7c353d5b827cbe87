//! Who reaches whom, and by which way: told by what the programs counted, not by what should be.

use anyhow::{Context, Result};
use weft_abi::{Direction, Reason};

use crate::drops;
use crate::netns::Netns;
use crate::node::Node;
use crate::traffic::ping;

/// A verdict that tells the way, and what people call it.
const WAYS: [(Reason, &str); 5] = [
    (Reason::Translated, "nat"),
    (Reason::Tunnelled, "overlay"),
    (Reason::Delivered, "local"),
    (Reason::Routed, "routed"),
    (Reason::Passed, "stack"),
];

/// Pings three times; the way that the packets took off that node, and the fastest round trip.
pub(super) fn ask(node: &Node, from: &Netns, to: std::net::IpAddr) -> Result<String> {
    let before = drops::read(node)?;
    let fastest = ping::must_reach(from, to)?;
    let after = drops::read(node)?;
    let new = |reason: Reason| {
        let count = |drops| drops::count(drops, reason, Direction::Egress);
        count(&after) - count(&before)
    };
    // A packet that is translated has been routed before: what was done to it last is what matters.
    let way = WAYS.iter().find(|(reason, _)| new(*reason) >= 3).context("no verdict was counted three times")?.1;
    Ok(format!("{way} {} us", fastest.as_micros()))
}

/// Rows of cells with their columns under each other.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
