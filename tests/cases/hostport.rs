//! Ports of the node that are pods', through the real plugin: from everywhere, for as long as the pod lives.

mod hostport_chain;
mod hostport_choice;
mod hostport_holders;
mod hostport_life;
mod hostport_reach;
mod hostport_restart;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weft_tests::fabric::{Fabric, Layout, Routing};
use weft_tests::kernel;
use weft_tests::node::{Attach, Node};
use weft_tests::pod::Sandbox;
use weft_tests::publish::{self, Published};
use weft_tests::runtime::{CniError, refused};

/// Two nodes, and a pod with published ports on the first.
fn set(routing: Routing, attach: impl Into<Option<Attach>>) -> Result<(Fabric, Published)> {
    let fabric = Fabric::start(Layout::new(routing, attach).nodes(2))?;
    let published = Published::attach(fabric.node(1))?;
    Ok((fabric, published))
}

/// Refuses an ADD with these mappings, without a trace.
fn doomed(node: &Node, mappings: &Value) -> Result<CniError> {
    let (ends, entries) = (kernel::host_ends(node.netns())?, publish::entries(node)?);
    let (records, ports) = (node.weft_json(&["endpoint", "list"])?, publish::listed(node)?);
    let sandbox = Sandbox::new(node)?;
    let network = node.network().offering(json!({ "portMappings": mappings }));
    let error = refused(network.add(node.netns(), &sandbox.attachment)).with_context(|| mappings.to_string())?;
    ensure!(kernel::host_ends(node.netns())? == ends, "a host end was left");
    ensure!(kernel::devices(&sandbox.netns)?.is_empty(), "the pod's namespace was touched");
    let now = node.weft_json(&["endpoint", "list"])?;
    ensure!(now.as_array().map(Vec::len) == records.as_array().map(Vec::len), "a record was left: {now}");
    ensure!(publish::entries(node)? == entries && publish::listed(node)? == ports, "a mapping was left");
    let status = node.weft_json(&["status"])?;
    for pool in status["pools"].as_array().context("no pools")? {
        ensure!(pool["used"].as_u64() == now.as_array().map(|list| list.len() as u64), "an address leaked: {pool}");
    }
    Ok(error)
}
