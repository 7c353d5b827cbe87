//! The command line and the environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::settings::Settings;
use crate::cli::Format;

/// The daemon that owns weft's datapath on a node.
#[derive(Debug, Parser)]
#[command(name = "weft-agent", version)]
pub(super) struct Args {
    /// TOML file with the long flags' names as keys; flags, WEFT_* variables and --config-dir win over it
    #[arg(long, value_name = "FILE", env = "WEFT_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Directory with a file for each setting, as a `ConfigMap` is mounted; flags and WEFT_* variables win over it
    #[arg(long, value_name = "DIR", env = "WEFT_CONFIG_DIR", global = true)]
    pub(super) config_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Remove every link, map, route, device and file of the agent that used these directories, and its node's condition
    Cleanup {
        /// Go on although an agent still runs on the run directory
        #[arg(long)]
        force: bool,
        /// Then wait for a signal, as the one container of a pod that is not to be started again
        #[arg(long)]
        stay: bool,
    },
    /// Check the configuration, mount a BPF filesystem where --bpf-dir has none, and put weft-cni into --cni-bin-dir
    Init,
    /// Tell what this node has of what weft needs, and what a lack costs; exit code 0 when weft can run, 1 when not
    Preflight {
        /// How to show the answer
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}
