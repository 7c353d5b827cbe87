//! `weft-bench`: measures weft's figures and says which of them reach what was aimed for.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use weft_tests::bench::{self, Group, traffic};

/// Measures weft beside the reference plugins, a bare veth pair and what the kernel has, in namespaces of its own.
///
/// A figure that misses what was aimed for is reported and no failure; one that could not be measured is.
#[derive(Parser)]
#[command(name = "weft-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Fewer rounds: under two minutes
    #[arg(long)]
    quick: bool,
    /// Writes the figures as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the rates that limited pods reach as SVG; their group has to be measured
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Measures only this group (repeatable)
    #[arg(long, value_name = "GROUP")]
    only: Vec<Group>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// One end of a measured path
    #[command(hide = true)]
    Traffic(traffic::End),
}

#[expect(clippy::print_stderr, reason = "the last word of a failed run")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.role {
        Some(Role::Traffic(end)) => traffic::run(end).map(|()| ExitCode::SUCCESS),
        None => figures(&cli),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn figures(cli: &Cli) -> Result<ExitCode> {
    let groups = if cli.only.is_empty() { Group::value_variants() } else { &cli.only };
    ensure!(cli.plot.is_none() || groups.contains(&Group::Limits), "--plot draws the group limits: add --only limits");
    let report = bench::run(groups, cli.quick, cli.plot.as_deref())?;
    print!("{}", bench::table(&report));
    if let Some(path) = &cli.json {
        let json = serde_json::to_string_pretty(&report).context("write the figures as JSON")?;
        fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))?;
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
