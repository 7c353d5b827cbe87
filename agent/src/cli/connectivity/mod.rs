//! `weft connectivity`: servers and clients for tests on real clusters, out of the image that is there anyway.

mod agent;
mod api_server;
mod ask;
mod error;
mod exchange;
mod http;
mod large;
mod name;
mod rate;
mod serve;
mod steady;
mod target;
mod who;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::error::CliError;

pub(super) use error::ConnectivityError;

/// Where a server listens unless it is told otherwise, TCP and UDP.
const PORT: u16 = 8080;

#[derive(Debug, Subcommand)]
pub(super) enum ConnectivityVerb {
    /// Answers over TCP (HTTP) and UDP who it is and whom it sees, until it is terminated
    Serve(ServeArgs),
    /// Asks all questions at once, prints the answers as JSON; exit code 1 when one failed
    Ask(AskArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Port, TCP and UDP
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Addresses to listen at, comma-separated [default: all]
    #[arg(long, env = "WEFT_POD_IPS", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// What it calls itself
    #[arg(long, env = "WEFT_POD_NAME", default_value = "")]
    pod: String,
    /// The node that it says it runs on
    #[arg(long, env = "WEFT_NODE_NAME", default_value = "")]
    node: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct AskArgs {
    /// File for the answers, besides standard output: a container's termination message
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// Addresses of this pod, told with the answers
    #[arg(long, env = "WEFT_POD_IPS", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// Each as JSON, like {"who": {"to": "10.244.0.2:8080", "over": "udp"}}
    #[arg(value_name = "QUESTION", required = true)]
    questions: Vec<String>,
}

pub(super) fn run(verb: &ConnectivityVerb) -> Result<ExitCode, CliError> {
    match verb {
        ConnectivityVerb::Serve(args) => serve::run(args).map(|()| ExitCode::SUCCESS),
        ConnectivityVerb::Ask(args) => ask::run(args),
    }
}
