//! Many operations at once, as a runtime does them: each on a thread of its own.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kernel;
use crate::node::Node;
use crate::pod::{Sandbox, addresses};
use crate::runtime::Network;

/// Does a job for each item at once, and returns what each gave, in their order.
pub fn all_at_once<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(move || job(item))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Fresh namespaces.
pub fn sandboxes(node: &Node, count: usize) -> Result<Vec<Sandbox>> {
    (0..count).map(|_| Sandbox::new(node)).collect()
}

/// ADD of every sandbox at once.
pub fn add(node: &Node, network: &Network, sandboxes: &[Sandbox]) -> Vec<Result<Value>> {
    all_at_once(sandboxes, |sandbox| network.add(node.netns(), &sandbox.attachment))
}

/// Fails unless addresses are distinct, and records and host ends are exactly those of these results.
pub fn must_agree(node: &Node, results: &[Value]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for result in results {
        for address in addresses(result)? {
            ensure!(seen.insert(address), "{address} was handed out twice");
        }
    }
    let names = |list: &[Value]| -> BTreeSet<String> {
        list.iter().filter_map(|one| one["interfaces"][0]["name"].as_str()).map(str::to_owned).collect()
    };
    let expected = names(results);
    ensure!(expected.len() == results.len(), "{} results name {} host ends", results.len(), expected.len());
    let found: BTreeSet<String> = kernel::host_ends(node.netns())?.into_iter().collect();
    ensure!(found == expected, "host ends differ from results: {:?}", found.symmetric_difference(&expected));
    let records = node.weft_json(&["endpoint", "list"])?;
    let recorded: BTreeSet<String> = records
        .as_array()
        .context("no list of endpoints")?
        .iter()
        .filter_map(|one| one["endpoint"]["hostIfname"].as_str().map(str::to_owned))
        .collect();
    ensure!(recorded == expected, "records differ from results: {:?}", recorded.symmetric_difference(&expected));
    let entries = node.weft_json(&["map", "dump", weft_abi::map::PODS])?;
    ensure!(entries.as_array().map(Vec::len) == Some(seen.len()), "{} addresses, in the map: {entries}", seen.len());
    Ok(())
}

/// Fails unless nothing of any attachment is left on the node: link, record, address, map entry, pin, route.
pub fn must_be_empty(node: &Node) -> Result<()> {
    must_agree(node, &[])?;
    let status = node.weft_json(&["status"])?;
    for pool in status["pools"].as_array().context("no pools")? {
        ensure!(pool["used"] == 0, "an address leaked: {pool}");
    }
    // Those of uplinks and of the overlay device are the node's.
    let pods = |name: &std::ffi::OsStr| name.as_encoded_bytes().ends_with(b"_pod");
    let pinned = std::fs::read_dir(node.pins().join("links")).into_iter().flatten().flatten();
    let links = pinned.filter(|link| pods(&link.file_name())).count();
    ensure!(links == 0, "{links} links are still pinned");
    for (what, dir) in [("records", "attachments"), ("spooled releases", "spool")] {
        let files: Vec<_> = std::fs::read_dir(node.run_dir().join(dir))
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path())
            .collect();
        ensure!(files.is_empty(), "{what} were left: {files:?}");
    }
    Ok(())
}
