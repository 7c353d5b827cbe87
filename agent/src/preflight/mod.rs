//! `weft-agent preflight`: whether a node can run weft, and what it lacks. Nothing on the node is changed.

mod check;
mod kernel;
mod rights;
mod runtime;
mod trial;
mod ways;

use std::io;
use std::process::ExitCode;

use serde::Serialize;

use crate::capability;
use crate::cli::{Format, Output};
use crate::config::Config;

use check::{Check, Verdict};

/// What the node has of what weft needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    can_run: bool,
    checks: Vec<Check>,
}

/// Shows what the node has of what weft needs; 0 when weft can run, 1 when not.
///
/// # Errors
///
/// The answer cannot be written.
pub fn preflight(config: &Config, format: Format) -> io::Result<ExitCode> {
    let report = look(config);
    let output = Output::new(format);
    if output.is_json() {
        Output::json(&report)?;
    } else {
        table(&output, &report)?;
    }
    Ok(if report.can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(config: &Config) -> Report {
    let effective = capability::effective();
    let checks = [
        kernel::checks(config, effective),
        rights::checks(config, effective),
        trial::checks(&trial::run(config)),
        ways::checks(config),
        runtime::checks(config),
    ]
    .concat();
    Report { can_run: checks.iter().all(|check| check.verdict != Verdict::Missing), checks }
}

fn table(output: &Output, report: &Report) -> io::Result<()> {
    let mut table = output.new_table(&["WHAT", "FOUND", "VERDICT"]);
    for check in &report.checks {
        let verdict = match &check.note {
            Some(note) => format!("{}: {note}", check.verdict.word()),
            None => check.verdict.word().to_owned(),
        };
        table.add_row(vec![(&check.what).into(), (&check.found).into(), Output::mark(&verdict, check.is_good())]);
    }
    Output::table(table)?;
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    let unknown = match count(Verdict::Unknown) {
        0 => String::new(),
        unknown => format!("; {unknown} could not be tried"),
    };
    Output::line(&match (count(Verdict::Missing), count(Verdict::Degraded)) {
        (0, 0) => format!("\nweft can run here{unknown}"),
        (0, degraded) => format!("\nweft can run here, {degraded} degraded{unknown}"),
        (missing, _) => format!("\nweft cannot run here, {missing} missing"),
    })
}
