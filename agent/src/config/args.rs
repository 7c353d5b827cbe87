//! The command line and the environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::settings::Settings;

/// The daemon that owns weft's datapath on a node.
#[derive(Debug, Parser)]
#[command(name = "weft-agent", version)]
pub(super) struct Args {
    /// TOML file with the long flags' names as keys; flags and WEFT_* variables win over it
    #[arg(long, value_name = "FILE", env = "WEFT_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Remove every link, map, route, device and file of the agent that used these directories
    Cleanup {
        /// Go on although an agent still runs on the run directory
        #[arg(long)]
        force: bool,
    },
}
