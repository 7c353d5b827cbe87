//! `weft status`.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use comfy_table::Table;
use weft_cni::api::{NetworkStatus, Status};
use weft_cni::client::Client;

use super::error::CliError;
use super::get;
use super::output::{Output, join, seconds};

/// Pause between two questions while waiting.
const PACE: Duration = Duration::from_millis(20);

pub(super) fn show(client: &mut Client, output: &Output, wait: Option<Duration>) -> Result<ExitCode, CliError> {
    let deadline = wait.map(|wait| Instant::now() + wait);
    let status = loop {
        let status: Result<Status, _> = get(client, "/v1/status");
        let settled = match &status {
            Ok(status) => status.ready,
            Err(error) => !matches!(error, CliError::Away { .. }),
        };
        if settled || deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            break status?;
        }
        sleep(PACE);
    };
    if output.is_json() {
        Output::json(&status)?;
    } else {
        table(output, &status)?;
    }
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(output: &Output, status: &Status) -> Result<(), CliError> {
    let mut table = output.new_table(&[]);
    let state = if status.ready { "ready" } else { "not ready" };
    table.add_row(vec!["State".into(), Output::mark(state, status.ready)]);
    for (name, value) in [
        ("Node", status.node.clone()),
        ("Agent", format!("{}, up {}", status.version, seconds(status.uptime_ms / 1000))),
        ("Kernel", status.kernel.clone()),
        ("Datapath", format!("ABI {}, attached by {}", status.abi, status.attach)),
        ("Endpoints", status.endpoints.to_string()),
    ] {
        table.add_row([name, &value]);
    }
    for pool in &status.pools {
        let text = format!("{}: {} of {} leased, {} resting", pool.cidr, pool.used, pool.capacity, pool.resting);
        table.add_row(["Pool", &text]);
    }
    network(&mut table, &status.network);
    for one in &status.tables {
        let percent = one.entries * 100 / u64::from(one.room.max(1));
        table.add_row(["Table", &format!("{}: {} of {} entries, {percent} %", one.name, one.entries, one.room)]);
    }
    for problem in &status.problems {
        table.add_row(vec!["Problem".into(), Output::mark(problem, false)]);
    }
    Ok(Output::table(table)?)
}

fn network(table: &mut Table, network: &NetworkStatus) {
    let routing = match &network.overlay {
        Some(overlay) => {
            let (device, port, vni) = (&overlay.device, overlay.port, overlay.vni);
            format!("overlay by {device} (VXLAN {vni}, UDP port {port}, MTU {})", overlay.mtu)
        }
        None => "native".to_owned(),
    };
    table.add_row(["Routing", &routing]);
    for uplink in &network.uplinks {
        let state = if uplink.up { "" } else { ", down" };
        let addresses = if uplink.addresses.is_empty() { "no address".to_owned() } else { join(&uplink.addresses) };
        table.add_row(["Uplink", &format!("{}: {addresses}, MTU {}{state}", uplink.device, uplink.mtu)]);
    }
    if network.uplinks.is_empty() {
        table.add_row(["Uplink", "none"]);
    }
    table.add_row(["Peers", &network.peers.to_string()]);
    table.add_row(["Pods' MTU", &network.pod_mtu.to_string()]);
}
