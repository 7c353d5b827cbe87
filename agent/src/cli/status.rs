//! `weft status`.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use weft_cni::api::Status;
use weft_cni::client::Client;

use super::error::CliError;
use super::get;
use super::output::Output;

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
        ("Agent", format!("{}, up {}", status.version, duration(status.uptime_ms / 1000))),
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
    for problem in &status.problems {
        table.add_row(vec!["Problem".into(), Output::mark(problem, false)]);
    }
    Ok(Output::table(table)?)
}

/// The two largest units, as `3d 4h` or `12s`.
fn duration(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let texts = [0, 59, 60, 3599, 3600, 86399, 273_600].map(duration);
        assert_eq!(texts, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "3d 4h"]);
    }
}
