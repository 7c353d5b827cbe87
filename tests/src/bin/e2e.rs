//! `weft-e2e`: what users do, on any cluster on which weft is installed.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use tokio::runtime;
use weft_tests::e2e::{self, Options};

/// Runs user scenarios in pods of a cluster, tells of each, and removes what it made, also when interrupted.
///
/// The test pods run weft's own image, the installed one; no registry, no exec and no way from here to a pod
/// is needed. Exit code 0 when nothing failed, 1 when something did or nothing could be tried, 2 when the scenarios
/// did not run to their end.
#[derive(Debug, Parser)]
#[command(name = "weft-e2e", version)]
struct Args {
    /// How to reach the cluster
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", required_unless_present = "list")]
    kubeconfig: Option<PathBuf>,
    /// Image of the test pods [default: weft's own]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Namespace to make, use and remove [default: weft-e2e- and a number]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Run only this scenario (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Something outside of the cluster that accepts TCP connections and answers HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    world: Option<SocketAddr>,
    /// How to show the results
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// How long weft may take to be ready on all nodes, before anything begins
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// Leave the namespace as it is at the end
    #[arg(long)]
    keep: bool,
    /// Name the scenarios and run none
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Without stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "weft-e2e: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "progress and results are what the program is for")]
fn run(args: Args) -> Result<ExitCode> {
    if args.list {
        e2e::names().for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        kubeconfig: args.kubeconfig.context("--kubeconfig is missing")?,
        image: args.image,
        namespace: args.namespace,
        only: args.only,
        world: args.world,
        wait: Duration::from_secs(args.wait),
        keep: args.keep,
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("start")?;
    let report = runtime.block_on(e2e::run(&options, |line| eprintln!("{line}")))?;
    match args.output {
        Format::Table => print!("\n{report}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report).context("write the report")?),
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
