//! Ports that every node has for a service.

use anyhow::Result;

use super::{one_node_only, passed};
use crate::e2e::check::{Asking, Check, Client};
use crate::e2e::manifest::{Kind, ServicePlan};
use crate::e2e::report::Verdict;
use crate::e2e::service::Made;
use crate::e2e::stage::{Cast, Stage};

/// Asks at that port of a node, by its first address of each family that the service has.
fn at_node(stage: &Stage, at: usize, made: &Made, names: &[&str], client: &Client) -> Vec<Check> {
    let mut checks = Vec::new();
    for family in &made.addresses {
        let addresses = &stage.places()[at].addresses;
        let Some(address) = addresses.iter().find(|one| one.is_ipv4() == family.is_ipv4()) else { continue };
        for (protocol, port) in &made.node_ports {
            // The same number for both transports, or one for each.
            let asked = Check::service(names, *address, *port, client);
            checks.extend(asked.into_iter().filter(|check| check.what.ends_with(protocol)));
        }
    }
    checks
}

pub(super) async fn everywhere(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let names: &[&str] = if stage.places().len() > 1 { &["a1", "b1"] } else { &["a1"] };
    let plan = ServicePlan { name: "ported", label: ("group", "web"), kind: Kind::NodePort, ..ServicePlan::default() };
    let made = stage.service(&plan).await?;
    let nodes = 0..stage.places().len();
    let asked = |at| at_node(stage, at, &made, names, &Client::Anybody);
    let checks: Vec<_> = nodes.clone().flat_map(asked).collect();
    let asking = nodes.flat_map(|at| [Asking::pod(at, checks.clone()), Asking::host(at, checks.clone())]).collect();
    let right = stage.ask(asking).await?;
    Ok(passed(format!("{right} times 20 connections or datagrams, from pods and nodes, to every node")))
}

pub(super) async fn local(stage: &Stage, _: &Cast) -> Result<Verdict> {
    if stage.places().len() < 2 {
        return Ok(one_node_only());
    }
    let label = ("server", "b1");
    let made = stage
        .service(&ServicePlan { name: "local", label, kind: Kind::NodePortLocal, ..ServicePlan::default() })
        .await?;
    // The node of the pod is asked from the other one: the way of a client outside.
    let checks = at_node(stage, 1, &made, &["b1"], &Client::AskerOrNode);
    let right = stage.ask(vec![Asking::host(0, checks.clone()), Asking::pod(0, checks)]).await?;
    Ok(passed(format!("{right} answers, client's address kept")))
}
