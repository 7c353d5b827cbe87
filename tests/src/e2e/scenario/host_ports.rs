//! Ports of a node that are a pod's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::passed;
use crate::e2e::check::{Asking, Check, Client};
use crate::e2e::manifest::PodPlan;
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};

pub(super) async fn everywhere(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let port = stage.host_port();
    stage.pods().create(&PodPlan { host_port: Some(port), ..PodPlan::server("ported", &stage.places()[0]) }).await?;
    stage.pods().ready("ported").await?;
    let own = cast.on(0).addresses.iter();
    let node = &stage.places()[0].addresses;
    let reached: Vec<IpAddr> =
        own.filter_map(|own| node.iter().find(|one| one.is_ipv4() == own.is_ipv4()).copied()).collect();
    let checks = |client: &Client, more: &[IpAddr]| -> Vec<Check> {
        let all = reached.iter().chain(more);
        all.flat_map(|address| Check::server("ported", *address, port, client)).collect()
    };
    // Of the families that the pod has: nobody answers for the other.
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let loopback: Vec<IpAddr> =
        loopback.into_iter().filter(|one| reached.iter().any(|own| own.is_ipv4() == one.is_ipv4())).collect();
    let mut asking =
        vec![Asking::pod(0, checks(&Client::Anybody, &[])), Asking::host(0, checks(&Client::Anybody, &loopback))];
    if stage.places().len() > 1 {
        asking.push(Asking::pod(1, checks(&Client::AskerOrNode, &[])));
        asking.push(Asking::host(1, checks(&Client::AskerOrNode, &[])));
    }
    let right = stage.ask(asking).await;
    stage.pods().delete("ported").await?;
    Ok(passed(format!("{} answers over TCP and UDP, loopback of the node too", right?)))
}
