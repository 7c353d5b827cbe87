//! Pods and nodes reach each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use weft_agent::connectivity::{Answer, Echo, Question, Transfer, Transport, Who};

use super::{families, one_node_only, passed};
use crate::e2e::check::{Asking, Check, Client};
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Server, Stage};

/// A pod's address answers from another node within this time of its being there.
const FIRST_MS: u64 = 100;

/// For how long a first attempt is followed by others.
const PATIENCE_MS: u64 = 5000;

pub(super) async fn addresses(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let mut known = BTreeMap::new();
    for server in &cast.pods {
        for address in &server.addresses {
            if let Some(other) = known.insert(*address, server.name) {
                bail!("{other} and {} both have {address}", server.name);
            }
            if let Some(place) = stage.places().iter().find(|place| place.addresses.contains(address)) {
                bail!("{} has {address}, which is the address of node {}", server.name, place.name);
            }
        }
    }
    let sizes: Vec<_> = cast.pods.iter().map(|server| server.addresses.len()).collect();
    ensure!(sizes.iter().all(|size| *size == sizes[0]), "some pods have more addresses than others: {known:?}");
    let told: Vec<_> = known.iter().map(|(address, name)| format!("{name} {address}")).collect();
    Ok(passed(format!("{}: {}", families(known.keys()), told.join(", "))))
}

/// Asks all addresses of a server.
fn all(server: &Server, client: &Client) -> Vec<Check> {
    server.addresses.iter().flat_map(|address| Check::server(server.name, *address, server.port, client)).collect()
}

pub(super) async fn same_node(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let right = stage.ask(vec![Asking::pod(0, all(cast.neighbour(), &Client::Asker))]).await?;
    Ok(passed(format!("{right} answers over TCP and UDP, {}, source kept", families(&cast.neighbour().addresses))))
}

pub(super) async fn across(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    if stage.places().len() < 2 {
        return Ok(one_node_only());
    }
    let there = Asking::pod(0, all(cast.on(1), &Client::Asker));
    let back = Asking::pod(1, all(cast.on(0), &Client::Asker));
    let right = stage.ask(vec![there, back]).await?;
    Ok(passed(format!("{right} answers over TCP and UDP, {}, source kept", families(&cast.on(1).addresses))))
}

pub(super) async fn first_packet(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    if stage.places().len() < 2 {
        return Ok(one_node_only());
    }
    let mut times = Vec::new();
    for (at, other) in [(0, 1), (1, 0)] {
        let server = cast.on(other);
        let to = SocketAddr::new(server.addresses[0], server.port).to_string();
        let who = Who { to, over: Transport::Tcp, times: 1, patience_ms: PATIENCE_MS };
        let name = &stage.places()[at].name;
        match stage.answer(at, false, Question::Who(who)).await? {
            Answer::Who(seen) => {
                let (tries, took) = (seen.tries, seen.start_to_answer_ms);
                ensure!(tries == 1, "a new pod of {name} had its first answer after {tries} attempts and {took} ms");
                ensure!(took <= FIRST_MS, "a new pod of {name} had its first answer after {took} ms, not {FIRST_MS}");
                times.push(format!("{took} ms on {name}"));
            }
            other => bail!("a new pod of {name} had no answer within {PATIENCE_MS} ms: {other:?}"),
        }
    }
    Ok(passed(format!("first attempt answered, after the start of the pod's process: {}", times.join(", "))))
}

pub(super) async fn large(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let checks = |server: &Server| {
        let ask = |address: &std::net::IpAddr| {
            let to = SocketAddr::new(*address, server.port).to_string();
            let echo = Echo { to: to.clone(), sizes: vec![64, 0, 8000] };
            let echo = Check::any(format!("{} at {to}, datagrams", server.name), Question::Echo(echo));
            let transfer = Transfer { to: to.clone(), bytes: 1 << 20 };
            [echo, Check::any(format!("{} at {to}, 1 MiB both ways", server.name), Question::Transfer(transfer))]
        };
        server.addresses.iter().flat_map(ask).collect::<Vec<_>>()
    };
    let mut asking = vec![Asking::pod(0, checks(cast.neighbour()))];
    if stage.places().len() > 1 {
        asking.push(Asking::pod(0, checks(cast.on(1))));
        asking.push(Asking::pod(1, checks(cast.on(0))));
    }
    let right = stage.ask(asking).await?;
    let question = Question::Echo(Echo {
        to: format!("{}", SocketAddr::new(cast.on(0).addresses[0], cast.on(0).port)),
        sizes: vec![0],
    });
    let filled = match stage.answer(0, false, question).await? {
        Answer::Echo(sizes) => format!("{sizes:?} bytes of UDP fill a packet"),
        other => bail!("the MTU could not be read: {other:?}"),
    };
    Ok(passed(format!("{right} answers; {filled}")))
}

pub(super) async fn host_to_pod(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let servers = |_: usize| cast.pods.iter().filter(|server| server.name != "a2");
    let checks = |at| servers(at).flat_map(|server| all(server, &Client::Anybody)).collect();
    let right = stage.ask((0..stage.places().len()).map(|at| Asking::host(at, checks(at))).collect()).await?;
    Ok(passed(format!("{right} answers over TCP and UDP")))
}

pub(super) async fn pod_to_node(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    let checks = |at: usize| {
        let servers = cast.hosts.iter().flat_map(|server| {
            let addresses = stage.places()[server.at].addresses.iter();
            // A pod of one family has no way to the other.
            let reachable =
                addresses.filter(|one| cast.on(at).addresses.iter().any(|own| own.is_ipv4() == one.is_ipv4()));
            reachable
                .flat_map(|one| Check::server(server.name, *one, server.port, &Client::AskerOrNode))
                .collect::<Vec<_>>()
        });
        servers.collect()
    };
    let right = stage.ask((0..stage.places().len()).map(|at| Asking::pod(at, checks(at))).collect()).await?;
    Ok(passed(format!("{right} answers over TCP and UDP")))
}
