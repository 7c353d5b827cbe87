//! Settings of what the agent puts onto its node for the container runtime, and of where it writes sysctls.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::paths::absolute;
use super::{ConfigError, InstallConfig};

/// Where the runtimes of Kubernetes look for plugins, unless they were told otherwise.
const BIN_DIR: &str = "/opt/cni/bin";
/// Where they look for network configurations.
const CONF_DIR: &str = "/etc/cni/net.d";
const PROC_DIR: &str = "/proc";

/// Settings as they were given, by whichever way.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are the names of the settings")]
#[serde(rename_all = "kebab-case")]
pub(super) struct InstallSettings {
    /// Directory of the node where weft-cni is put [default: /opt/cni/bin; standalone: nowhere]
    #[arg(long, value_name = "DIR", env = "WEFT_CNI_BIN_DIR", global = true)]
    cni_bin_dir: Option<PathBuf>,
    /// Directory of the node where 05-weft.conflist is written [default: /etc/cni/net.d; standalone: nowhere]
    #[arg(long, value_name = "DIR", env = "WEFT_CNI_CONF_DIR", global = true)]
    cni_conf_dir: Option<PathBuf>,
    /// Directory below which sys/net is writable, where a container's own is not [default: /proc]
    #[arg(long, value_name = "DIR", env = "WEFT_PROC_DIR", global = true)]
    proc_dir: Option<PathBuf>,
}

impl InstallSettings {
    /// These settings, and for what they leave open the `other` ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            cni_bin_dir: self.cni_bin_dir.or(other.cni_bin_dir),
            cni_conf_dir: self.cni_conf_dir.or(other.cni_conf_dir),
            proc_dir: self.proc_dir.or(other.proc_dir),
        }
    }

    /// What to put where; nothing for an agent that serves no Kubernetes and was given no directory.
    pub(super) fn config(&self, standalone: bool) -> Result<Option<InstallConfig>, ConfigError> {
        let default = |path| (!standalone).then(|| Path::new(path));
        let directory = |field, given: Option<&Path>, default: Option<&Path>| {
            given.or(default).map(|path| absolute(field, path)).transpose()
        };
        let config = InstallConfig {
            bin_dir: directory("cni-bin-dir", self.cni_bin_dir.as_deref(), default(BIN_DIR))?,
            conf_dir: directory("cni-conf-dir", self.cni_conf_dir.as_deref(), default(CONF_DIR))?,
        };
        Ok((config != InstallConfig::default()).then_some(config))
    }

    pub(super) fn proc_dir(&self) -> Result<PathBuf, ConfigError> {
        absolute("proc-dir", self.proc_dir.as_deref().unwrap_or(Path::new(PROC_DIR)))
    }
}
