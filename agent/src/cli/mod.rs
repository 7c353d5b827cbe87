//! The operator's command line: asks the agent, shows the answer.

mod args;
mod bits;
mod connectivity;
mod drops;
mod endpoint;
mod error;
mod flow;
mod map;
mod nat;
mod output;
mod peer;
mod port;
mod rate;
mod status;
mod stream;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::de::DeserializeOwned;
use weft_cni::client::Client;

use crate::text;

pub use args::Format;
pub(crate) use output::Output;

use args::{Args, EndpointVerb, FlowVerb, MapVerb, NatVerb, PeerVerb, PortVerb, Verb};
use error::CliError;

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `weft`: 0 when all is well, 1 when not, 2 when the command line is wrong.
pub fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Without stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "weft: {}", text::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode, CliError> {
    let mut client = Client::new(args.run_dir.join("agent.sock"));
    let output = Output::new(args.output);
    match args.verb {
        Verb::Connectivity(verb) => return connectivity::run(&verb),
        Verb::Status { wait } => return status::show(&mut client, &output, wait.map(Duration::from_secs)),
        Verb::Endpoint(EndpointVerb::List) => endpoint::list(&mut client, &output)?,
        Verb::Endpoint(EndpointVerb::Get { name }) => endpoint::get(&mut client, &output, &name)?,
        Verb::Endpoint(EndpointVerb::SetRate(args)) => rate::set(&mut client, &output, &args)?,
        Verb::Port(PortVerb::List) => port::list(&mut client, &output)?,
        Verb::Peer(PeerVerb::List) => peer::list(&mut client, &output)?,
        Verb::Map(MapVerb::List) => map::list(&mut client, &output)?,
        Verb::Map(MapVerb::Dump { name }) => map::dump(&mut client, &output, &name)?,
        Verb::Flow(FlowVerb::List(args)) => flow::list(&mut client, &output, &args)?,
        Verb::Nat(NatVerb::List { limit }) => nat::list(&mut client, &output, limit)?,
        Verb::Trace(args) => trace::follow(&client, &output, &args)?,
        Verb::Drops { follow: false } => drops::list(&mut client, &output)?,
        Verb::Drops { follow: true } => drops::follow(&client, &output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn get<T: DeserializeOwned>(client: &mut Client, path: &str) -> Result<T, CliError> {
    client.get(path, Instant::now() + PATIENCE).map_err(CliError::from)
}
