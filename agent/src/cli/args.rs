//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::run_dir::RunDir;

/// Looks at weft's agent on this node and at its datapath.
#[derive(Debug, Parser)]
#[command(name = "weft", version)]
pub(super) struct Args {
    /// The agent's run directory
    #[arg(long, value_name = "DIR", env = "WEFT_RUN_DIR", default_value = RunDir::DEFAULT, global = true)]
    pub(super) run_dir: PathBuf,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    pub(super) output: Format,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// As the agent sent it
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Whether the agent serves, and what is wrong; exit code 0 when ready, 1 when not
    Status {
        /// Wait until it is ready, for at most so many seconds [default: 60]
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
        wait: Option<u64>,
    },
    /// Pods that are joined to the network
    #[command(subcommand)]
    Endpoint(EndpointVerb),
    /// Other nodes
    #[command(subcommand)]
    Peer(PeerVerb),
    /// The datapath's maps
    #[command(subcommand)]
    Map(MapVerb),
    /// Dropped packets: how many, why, and the newest ones
    Drops {
        /// Show drops as they happen, until interrupted
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EndpointVerb {
    /// All of them, oldest first
    List,
    /// One of them, whole
    Get {
        /// Its number, an address, the pod as [NAMESPACE/]NAME, or CONTAINER[/IFNAME]; a container id may be cut short
        #[arg(value_name = "WHICH")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PeerVerb {
    /// All of them, by name, and how packets get there
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum MapVerb {
    /// All of them, and how full they are
    List,
    /// What a map holds
    Dump {
        /// The map's name
        name: String,
    },
}
