//! `weft status`.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use comfy_table::Table;
use weft_cni::api::{BandwidthStatus, NetworkStatus, PortsStatus, Status};
use weft_cni::client::Client;

use super::error::CliError;
use super::get;
use super::output::{Output, join, seconds};

mod cluster;

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
    cluster::rows(&mut table, status);
    table.add_row(["Ports", &ports(&status.ports)]);
    table.add_row(["Limits", &limits(&status.bandwidth)]);
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

/// How many there are, and how the node itself reaches them.
fn ports(ports: &PortsStatus) -> String {
    let way = match (ports.sockets.as_str(), &ports.cgroup) {
        ("cgroup", Some(cgroup)) => {
            format!("the node's processes below {cgroup} reach them by every address and loopback")
        }
        ("cgroup", None) => "the node's processes reach them by every address and loopback".to_owned(),
        ("loopback", _) => "the node's processes reach them by its addresses, not by 127.0.0.1 and ::1".to_owned(),
        _ => "the node's processes do not reach them".to_owned(),
    };
    format!("{} mapped; {way}{}", ports.mappings, why(ports.problem.as_deref()))
}

/// How many there are, and what holds them.
fn limits(bandwidth: &BandwidthStatus) -> String {
    let BandwidthStatus { method, limited, problem } = bandwidth;
    let way = match method.as_str() {
        "edt" => "held by departure times (edt)",
        "htb" => "held by a class for each direction (htb)",
        _ => "none can be held",
    };
    format!("{limited} pods limited; {way}{}", why(problem.as_deref()))
}

fn why(problem: Option<&str>) -> String {
    problem.map(|problem| format!(": {problem}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_ports_and_limits_is_told() {
        let status = PortsStatus { mappings: 3, sockets: "cgroup".into(), cgroup: Some("/c".into()), problem: None };
        let told = "3 mapped; the node's processes below /c reach them by every address and loopback";
        assert_eq!(ports(&status), told);
        let problem = Some("no cgroup2".to_owned());
        let status = PortsStatus { sockets: "loopback".into(), problem: problem.clone(), ..status };
        assert!(ports(&status).ends_with("not by 127.0.0.1 and ::1: no cgroup2"));
        let status = BandwidthStatus { method: "htb".into(), limited: 2, problem: None };
        assert_eq!(limits(&status), "2 pods limited; held by a class for each direction (htb)");
        let status = BandwidthStatus { method: "none".into(), limited: 0, problem };
        assert_eq!(limits(&status), "0 pods limited; none can be held: no cgroup2");
    }
}
