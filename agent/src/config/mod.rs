//! Flags, environment and file: parsed and checked whole before anything is touched.

mod args;
mod cgroup;
mod cidr;
mod contradiction;
mod directory;
mod error;
mod file;
mod install;
mod kubernetes;
mod network;
mod paths;
mod reference;
mod settings;
#[cfg(test)]
mod tests;
mod timeouts;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use hyper::Uri;
use ipnet::IpNet;
use log::LevelFilter;

use crate::cli::Format;
use crate::datapath::AttachMode;
use crate::flow::Timeouts;
use crate::node::ShaperMode;

use args::{Args, Verb};

pub(crate) use cidr::CidrError;
pub(crate) use cidr::{parse as parse_pod_cidrs, parse_network};
pub use error::ConfigError;
pub use reference::{Setting, reference};

/// What the agent was told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the node.
    pub node_name: String,
    /// Pod ranges, a pool each; none overlaps another. None at all where the node's object in Kubernetes names them.
    pub pod_cidrs: Vec<IpNet>,
    /// Directory of socket, records and spool; absolute.
    pub run_dir: PathBuf,
    /// Directory on a BPF filesystem for maps and links; absolute.
    pub bpf_dir: PathBuf,
    /// Root of the cgroup v2 hierarchy, where the node has one.
    pub cgroup: Option<PathBuf>,
    /// Where health and metrics are served over TCP, if at all.
    pub listen: Option<SocketAddr>,
    /// MTU of the pods' interfaces in bytes; `None` takes what the uplinks carry.
    pub mtu: Option<u32>,
    /// How programs get onto a device.
    pub attach: AttachMode,
    /// Whether grace periods are hastened while programs are attached and devices removed.
    pub expedite_rcu: bool,
    /// What holds the rates of limited pods.
    pub shaper: ShaperMode,
    /// Least severe message that is logged.
    pub log_level: LevelFilter,
    /// The network between nodes, and the way out.
    pub network: NetworkConfig,
    /// How long a silent flow is remembered.
    pub timeouts: Timeouts,
    /// What is put onto the node for its container runtime.
    pub install: Option<InstallConfig>,
    /// Directory in whose `sys/net` sysctls are set; absolute.
    pub proc_dir: PathBuf,
    /// The cluster; `None` for a standalone agent.
    pub kubernetes: Option<KubernetesConfig>,
}

/// What is put onto the node for its container runtime, and where; absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallConfig {
    /// Directory of plugins.
    pub bin_dir: Option<PathBuf>,
    /// Directory of network configurations.
    pub conf_dir: Option<PathBuf>,
}

/// How the cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Where the API server is asked: scheme, host and port, perhaps a path before every other.
    pub api_server: Uri,
    /// Directory with `token` and `ca.crt`; absolute.
    pub service_account: PathBuf,
}

/// The network between nodes, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// File with the other nodes; absolute.
    pub peers: Option<PathBuf>,
    /// The overlay, unless the network itself routes to pods.
    pub overlay: Option<Overlay>,
    /// Names of the devices that lead off the node, with `*` at the end for any ending; empty to find them.
    pub devices: Vec<String>,
    /// The node's addresses as others know them, at most one of a family; empty to take the uplinks'.
    pub node_ip: Vec<IpAddr>,
    /// Whether pods' packets to the world leave with the node's address.
    pub masquerade: bool,
    /// Ranges that pods reach with their own addresses, beside all pods' ranges; they may overlap.
    pub masq_exempt: Vec<IpNet>,
    /// Whether native routing makes the routes to nodes of the same link.
    pub direct_node_routes: bool,
    /// Whether packets that leave the node go around its stack where they can.
    pub host_routing: bool,
    /// Room for tracked flows, and as many translations.
    pub flow_table_size: u32,
}

/// The VXLAN that carries packets between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// UDP port; not 0.
    pub port: u16,
    /// Number of the virtual network; 24 bits, not 0.
    pub vni: u32,
}

/// What a clean-up needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupConfig {
    /// The agent's run directory.
    pub run_dir: PathBuf,
    /// The agent's BPF directory.
    pub bpf_dir: PathBuf,
    /// Go on although an agent runs on the directory.
    pub force: bool,
    /// Wait for a signal once all is clean.
    pub stay: bool,
    /// What the agent put onto the node for its container runtime.
    pub install: InstallConfig,
    /// Name of the node.
    pub node_name: String,
    /// The cluster, where the agent ran in one.
    pub kubernetes: Option<KubernetesConfig>,
    /// Least severe message that is logged.
    pub log_level: LevelFilter,
}

/// What the process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the agent of this node.
    Run(Box<Config>),
    /// Make what an agent needs and may not make itself.
    Init(Box<Config>),
    /// Tell whether the node can run an agent.
    Preflight {
        /// What the agent would be.
        config: Box<Config>,
        /// How to tell.
        format: Format,
    },
    /// Remove everything that an agent left.
    Cleanup(Box<CleanupConfig>),
}

/// Reads flags, environment, directory and file; each wins over those after it.
///
/// # Errors
///
/// The first setting that is unknown, malformed or does not go with another. Nothing was touched by then.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    let Args { config, config_dir, mut settings, verb } = Args::try_parse_from(args)?;
    if let Some(path) = config_dir {
        settings = settings.or(directory::read(&path)?);
    }
    if let Some(path) = config {
        settings = settings.or(file::read(&path)?);
    }
    match verb {
        Some(Verb::Cleanup { force, stay }) => settings.into_cleanup(force, stay).map(Box::new).map(Command::Cleanup),
        Some(Verb::Init) => settings.into_config().map(Box::new).map(Command::Init),
        Some(Verb::Preflight { output }) => {
            let config = settings.into_unplaced_config()?;
            Ok(Command::Preflight { config: Box::new(config), format: output })
        }
        None => settings.into_config().map(Box::new).map(Command::Run),
    }
}
