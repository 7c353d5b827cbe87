//! weft's agent: the one process of a node that talks bpf(2), and the operator's command line.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test stops at the first surprise"))]

mod agent;
mod api;
mod capability;
pub mod cleanup;
pub mod cli;
mod cluster;
pub mod config;
pub mod connectivity;
pub mod datapath;
pub mod endpoint;
pub mod flow;
pub mod init;
mod inotify;
mod install;
mod ipam;
mod k8s;
mod kernel;
mod monitor;
pub mod node;
mod peer;
pub mod preflight;
mod run_dir;
mod shaping;
pub mod text;

pub use agent::{Agent, StartError};
