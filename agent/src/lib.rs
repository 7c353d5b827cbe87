//! weft's agent: the one process of a node that talks bpf(2), and the operator's command line.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test stops at the first surprise"))]

mod agent;
mod api;
pub mod cleanup;
pub mod cli;
pub mod config;
pub mod connectivity;
pub mod datapath;
pub mod endpoint;
pub mod flow;
mod ipam;
mod kernel;
mod monitor;
pub mod node;
mod peer;
mod run_dir;
mod shaping;
pub mod text;

pub use agent::{Agent, StartError};
