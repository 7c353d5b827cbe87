//! Flags, environment and file: parsed and checked whole before anything is touched.

mod args;
mod cgroup;
mod cidr;
mod error;
mod file;
mod settings;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use ipnet::IpNet;
use log::LevelFilter;

use crate::datapath::AttachMode;

use args::{Args, Verb};

pub use error::ConfigError;

/// What the agent was told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the node.
    pub node_name: String,
    /// Pod ranges, a pool each; at least one, none overlaps another.
    pub pod_cidrs: Vec<IpNet>,
    /// Directory of socket, records and spool; absolute.
    pub run_dir: PathBuf,
    /// Directory on a BPF filesystem for maps and links; absolute.
    pub bpf_dir: PathBuf,
    /// Root of the cgroup v2 hierarchy, where the node has one.
    pub cgroup: Option<PathBuf>,
    /// Where health and metrics are served over TCP, if at all.
    pub listen: Option<SocketAddr>,
    /// MTU of the pods' interfaces in bytes; `None` takes the uplink's.
    pub mtu: Option<u32>,
    /// How programs get onto a device.
    pub attach: AttachMode,
    /// Whether grace periods are hastened while programs are attached and devices removed.
    pub expedite_rcu: bool,
    /// Least severe message that is logged.
    pub log_level: LevelFilter,
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
    /// Least severe message that is logged.
    pub log_level: LevelFilter,
}

/// What the process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the agent of this node.
    Run(Config),
    /// Remove everything that an agent left.
    Cleanup(CleanupConfig),
}

/// Reads flags, environment and file; flags win over the environment, that over the file.
///
/// # Errors
///
/// The first setting that is unknown, malformed or does not go with another. Nothing was touched by then.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    let Args { config, settings, verb } = Args::try_parse_from(args)?;
    let settings = match config {
        Some(path) => settings.or(file::read(&path)?),
        None => settings,
    };
    match verb {
        Some(Verb::Cleanup { force }) => settings.into_cleanup(force).map(Command::Cleanup),
        None => settings.into_config().map(Command::Run),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn run(args: &[&str]) -> Result<Config, ConfigError> {
        match parse(["weft-agent"].iter().chain(args).map(OsString::from))? {
            Command::Run(config) => Ok(config),
            Command::Cleanup(_) => unreachable!(),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn defaults_need_only_a_pod_range() {
        let config = run(&["--standalone", "--pod-cidr", "10.244.0.0/24", "--pod-cidr", "fd00:10::/64"]).unwrap();
        assert_eq!(config.run_dir, PathBuf::from("/run/weft"));
        assert_eq!(config.bpf_dir, PathBuf::from("/sys/fs/bpf/weft"));
        assert_eq!(config.pod_cidrs.len(), 2);
        assert!(config.expedite_rcu && config.listen.is_none() && !config.node_name.is_empty());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file("standalone = true\npod-cidr = ['10.1.0.0/24']\nmtu = 1400\nnode-name = 'from-file'\n");
        let path = file.path().to_str().unwrap();
        let config = run(&["--config", path, "--mtu", "1300", "--run-dir", "/tmp/x/"]).unwrap();
        assert_eq!((config.mtu, config.node_name.as_str()), (Some(1300), "from-file"));
        assert_eq!(config.run_dir, PathBuf::from("/tmp/x"));
        assert_eq!(config.run_dir.as_os_str(), "/tmp/x", "link groups hash the text");
        let off = run(&["--config", path, "--standalone=false"]).unwrap_err();
        assert!(off.to_string().contains("--standalone"), "{off}");
    }

    #[test]
    fn wrong_files_name_the_key() {
        for (text, parts) in [
            ("pod-cird = ['10.1.0.0/24']", ["pod-cird", "pod-cidr"]),
            ("standalone = true\nmtu = 'big'", ["mtu", "string"]),
            ("pod-cidr = 7", ["pod-cidr", "integer"]),
            ("standalone = yes", ["line 1", "toml"]),
            ("standalone = true\nmtu = -1", ["mtu", "-1"]),
        ] {
            let file = file(text);
            let error = run(&["--config", file.path().to_str().unwrap()]).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.to_lowercase().contains(part)), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn wrong_values_name_field_and_remedy() {
        let base = ["--standalone", "--pod-cidr", "10.244.0.0/24"];
        for (more, parts) in [
            (vec!["--run-dir", "run"], ["run-dir", "absolute"]),
            (vec!["--bpf-dir", "/a/../b"], ["bpf-dir", ".."]),
            (vec!["--mtu", "60"], ["mtu", "68"]),
            (vec!["--pod-cidr", "fd00::/64", "--mtu", "1000"], ["mtu", "1280"]),
            (vec!["--attach", "xdp"], ["attach", "clsact"]),
            (vec!["--log-level", "loud"], ["log-level", "debug"]),
            (vec!["--listen", "9090"], ["listen", "127.0.0.1:"]),
            (vec!["--node-name", "a b"], ["node-name", "white space"]),
            (vec!["--cgroup", "/proc"], ["cgroup", "cgroup2"]),
            (vec!["--pod-cidr", "10.244.0.128/25"], ["10.244.0.0/24", "10.244.0.128/25"]),
        ] {
            let args: Vec<_> = base.iter().copied().chain(more.iter().copied()).collect();
            let error = run(&args).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{more:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(run(&["--standalone"]).unwrap_err().to_string().contains("pod-cidr"));
        assert!(run(&[]).unwrap_err().to_string().contains("--standalone"));
        let long = format!("/{}", "x".repeat(100));
        assert!(run(&["--standalone", "--run-dir", &long]).unwrap_err().to_string().contains("run-dir"));
    }

    #[test]
    fn cleanup_takes_the_same_directories() {
        let args = ["weft-agent", "cleanup", "--run-dir", "/tmp/r", "--bpf-dir", "/tmp/b", "--force"];
        let Command::Cleanup(cleanup) = parse(args.map(OsString::from)).unwrap() else { unreachable!() };
        assert!(cleanup.force && cleanup.run_dir.as_os_str() == "/tmp/r");
        assert_eq!(cleanup.bpf_dir, PathBuf::from("/tmp/b"));
    }
}
