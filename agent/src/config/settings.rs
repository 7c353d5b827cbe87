//! Every setting once, as flag, variable and key; and how they become a checked configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use log::LevelFilter;
use serde::Deserialize;

use crate::datapath::AttachMode;
use crate::node::ShaperMode;
use crate::run_dir::RunDir;

use super::install::InstallSettings;
use super::kubernetes::KubernetesSettings;
use super::network::NetworkSettings;
use super::paths::absolute;
use super::timeouts::TimeoutSettings;
use super::{CleanupConfig, Config, ConfigError, cgroup, cidr, contradiction};

/// Settings as they were given, by whichever way.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Settings {
    /// Run without Kubernetes: pod ranges come from this configuration [default: false]
    #[arg(long, value_name = "BOOL", env = "WEFT_STANDALONE", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) standalone: Option<bool>,
    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME", env = "WEFT_NODE_NAME", global = true)]
    pub(super) node_name: Option<String>,
    /// Range that pods get their addresses from; give one for each, of either family
    #[arg(long, value_name = "CIDR", env = "WEFT_POD_CIDR", value_delimiter = ',')]
    pub(super) pod_cidr: Option<Vec<String>>,
    /// Directory of the socket, the records and the spool [default: /run/weft]
    #[arg(long, value_name = "DIR", env = "WEFT_RUN_DIR", global = true)]
    pub(super) run_dir: Option<PathBuf>,
    /// Directory on a BPF filesystem for maps and links [default: /sys/fs/bpf/weft]
    #[arg(long, value_name = "DIR", env = "WEFT_BPF_DIR", global = true)]
    pub(super) bpf_dir: Option<PathBuf>,
    /// Root of the cgroup v2 hierarchy [default: where it is mounted]
    #[arg(long, value_name = "DIR", env = "WEFT_CGROUP")]
    pub(super) cgroup: Option<PathBuf>,
    /// Address and port for health and metrics, as 127.0.0.1:9850 [default: off]
    #[arg(long, value_name = "ADDR:PORT", env = "WEFT_LISTEN")]
    pub(super) listen: Option<String>,
    /// MTU of the pods' interfaces in bytes [default: the uplink's, less what the overlay adds]
    #[arg(long, value_name = "BYTES", env = "WEFT_MTU")]
    pub(super) mtu: Option<u32>,
    /// How programs get onto a device: auto, tcx or clsact [default: auto]
    #[arg(long, value_name = "HOW", env = "WEFT_ATTACH")]
    pub(super) attach: Option<String>,
    /// Hasten the kernel's grace periods while devices come and go [default: true]
    #[arg(long, value_name = "BOOL", env = "WEFT_EXPEDITE_RCU")]
    pub(super) expedite_rcu: Option<bool>,
    /// What holds the rates of limited pods: auto, edt or htb [default: auto]
    #[arg(long, value_name = "HOW", env = "WEFT_SHAPER")]
    pub(super) shaper: Option<String>,
    /// Least severe message to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "WEFT_LOG_LEVEL", global = true)]
    pub(super) log_level: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) network: NetworkSettings,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) timeouts: TimeoutSettings,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) install: InstallSettings,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) kubernetes: KubernetesSettings,
}

impl Settings {
    /// These settings, and for what they leave open the `other` ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            standalone: self.standalone.or(other.standalone),
            node_name: self.node_name.or(other.node_name),
            pod_cidr: self.pod_cidr.or(other.pod_cidr),
            run_dir: self.run_dir.or(other.run_dir),
            bpf_dir: self.bpf_dir.or(other.bpf_dir),
            cgroup: self.cgroup.or(other.cgroup),
            listen: self.listen.or(other.listen),
            mtu: self.mtu.or(other.mtu),
            attach: self.attach.or(other.attach),
            expedite_rcu: self.expedite_rcu.or(other.expedite_rcu),
            shaper: self.shaper.or(other.shaper),
            log_level: self.log_level.or(other.log_level),
            network: self.network.or(other.network),
            timeouts: self.timeouts.or(other.timeouts),
            install: self.install.or(other.install),
            kubernetes: self.kubernetes.or(other.kubernetes),
        }
    }

    pub(super) fn into_config(self) -> Result<Config, ConfigError> {
        contradiction::refuse(&self)?;
        if self.standalone != Some(true) && self.kubernetes.clone().into_config()?.is_none() {
            return Err(ConfigError::NoApiServer);
        }
        self.into_unplaced_config()
    }

    /// The same for one who may not know the cluster yet.
    pub(super) fn into_unplaced_config(self) -> Result<Config, ConfigError> {
        contradiction::refuse(&self)?;
        let log_level = self.log_level()?;
        let (run_dir, bpf_dir) = (self.run_dir()?, self.bpf_dir()?);
        let standalone = self.standalone == Some(true);
        let kubernetes = if standalone { None } else { self.kubernetes.into_config()? };
        let pod_cidrs = match self.pod_cidr.unwrap_or_default() {
            none if none.is_empty() && !standalone => Vec::new(),
            given => cidr::parse(&given)?,
        };
        let least = if pod_cidrs.iter().any(|cidr| cidr.addr().is_ipv6()) { MIN_MTU_V6 } else { MIN_MTU_V4 };
        if let Some(mtu) = self.mtu.filter(|mtu| !(least..=MAX_MTU).contains(mtu)) {
            return Err(ConfigError::Mtu { mtu, least, most: MAX_MTU });
        }
        Ok(Config {
            node_name: node_name(self.node_name)?,
            pod_cidrs,
            run_dir,
            bpf_dir,
            cgroup: cgroup::find(self.cgroup.as_deref())?,
            listen: self
                .listen
                .map(|text| text.parse::<SocketAddr>().map_err(|_| ConfigError::Listen { text }))
                .transpose()?,
            mtu: self.mtu,
            attach: self.attach.as_deref().map_or(Ok(AttachMode::Auto), attach_mode)?,
            expedite_rcu: self.expedite_rcu.unwrap_or(true),
            shaper: self.shaper.as_deref().map_or(Ok(ShaperMode::Auto), shaper_mode)?,
            log_level,
            network: self.network.into_config()?,
            timeouts: self.timeouts.into_config()?,
            install: self.install.config(standalone)?,
            proc_dir: self.install.proc_dir()?,
            kubernetes,
        })
    }

    pub(super) fn into_cleanup(self, force: bool, stay: bool) -> Result<CleanupConfig, ConfigError> {
        Ok(CleanupConfig {
            run_dir: self.run_dir()?,
            bpf_dir: self.bpf_dir()?,
            force,
            stay,
            install: self.install.config(self.standalone.unwrap_or(false))?.unwrap_or_default(),
            log_level: self.log_level()?,
            node_name: node_name(self.node_name)?,
            kubernetes: match self.standalone {
                Some(true) => None,
                _ => self.kubernetes.into_config()?,
            },
        })
    }

    fn run_dir(&self) -> Result<PathBuf, ConfigError> {
        let path = self.run_dir.as_deref().unwrap_or(Path::new(RunDir::DEFAULT));
        let path = absolute("run-dir", path)?;
        // sockaddr_un takes 108 bytes with the final zero: unix(7).
        match path.as_os_str().len() {
            len if len <= MAX_RUN_DIR => Ok(path),
            _ => Err(ConfigError::RunDirTooLong { path, most: MAX_RUN_DIR }),
        }
    }

    fn bpf_dir(&self) -> Result<PathBuf, ConfigError> {
        absolute("bpf-dir", self.bpf_dir.as_deref().unwrap_or(Path::new("/sys/fs/bpf/weft")))
    }

    fn log_level(&self) -> Result<LevelFilter, ConfigError> {
        let Some(text) = &self.log_level else { return Ok(LevelFilter::Info) };
        text.parse().map_err(|_| ConfigError::LogLevel { text: text.clone() })
    }
}

/// RFC 791: every link carries 68 bytes.
const MIN_MTU_V4: u32 = 68;
/// RFC 8200, section 5.
const MIN_MTU_V6: u32 = 1280;
/// What a veth takes.
const MAX_MTU: u32 = 65535;
/// Room for the socket's longest name behind it.
const MAX_RUN_DIR: usize = 107 - RunDir::LONGEST_SOCKET_NAME.len() - 1;

fn attach_mode(text: &str) -> Result<AttachMode, ConfigError> {
    match text {
        "auto" => Ok(AttachMode::Auto),
        "tcx" => Ok(AttachMode::Tcx),
        "clsact" => Ok(AttachMode::Clsact),
        _ => Err(ConfigError::Attach { text: text.to_owned() }),
    }
}

fn shaper_mode(text: &str) -> Result<ShaperMode, ConfigError> {
    match text {
        "auto" => Ok(ShaperMode::Auto),
        "edt" => Ok(ShaperMode::Edt),
        "htb" => Ok(ShaperMode::Htb),
        _ => Err(ConfigError::Shaper { text: text.to_owned() }),
    }
}

fn node_name(given: Option<String>) -> Result<String, ConfigError> {
    let name = match given {
        Some(name) => name,
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end().to_owned(),
    };
    if name.is_empty() || name.len() > 253 || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ConfigError::NodeName { name });
    }
    Ok(name)
}
