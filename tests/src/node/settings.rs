//! What a node's agent is started with.

use std::path::{Path, PathBuf};

/// What the manifests grant the agent's container, as `setpriv(1)` writes it.
pub const GRANTED: [&str; 4] = ["bpf", "net_admin", "net_raw", "perfmon"];

/// How programs get onto devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// TCX links.
    Tcx,
    /// Filters on a clsact queueing discipline.
    Clsact,
}

impl Attach {
    /// What the agent chooses on this kernel by itself: TCX links from Linux 6.6 on.
    pub fn preferred() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if version >= (6, 6) { Self::Tcx } else { Self::Clsact }
    }

    /// The word of the agent's flag.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// The agent's configuration, as flags and environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--node-name`.
    pub node_name: String,
    /// `--attach`; the agent's own choice if there is none.
    pub attach: Option<Attach>,
    /// `--pod-cidr`, each; in a cluster the node's object has them instead.
    pub pod_cidrs: Vec<String>,
    /// The cluster; a standalone agent has none.
    pub cluster: Option<Joined>,
    /// Further flags.
    pub extra: Vec<String>,
    /// The agent's whole environment.
    pub env: Vec<(String, String)>,
    /// Whether the agent sees a cgroup v2 hierarchy.
    pub sees_cgroups: bool,
    /// Whether the node has a BPF filesystem.
    pub mounts_bpffs: bool,
    /// The capabilities that the agent is left with, as setpriv(1) writes them; all of root's if there are none.
    pub capabilities: Option<Vec<String>>,
}

/// How a node belongs to a Kubernetes cluster.
#[derive(Clone, Debug)]
pub struct Joined {
    /// `--api-server`.
    pub api_server: String,
    /// `--service-account`.
    pub account: PathBuf,
    /// `--cni-bin-dir`.
    pub bin_dir: PathBuf,
    /// `--cni-conf-dir`.
    pub conf_dir: PathBuf,
}

impl Joined {
    /// With account and CNI directories below a node's own directory.
    pub fn below(dir: &Path, api_server: &str) -> Self {
        let cni = dir.join("cni");
        Self {
            api_server: api_server.to_owned(),
            account: dir.join("account"),
            bin_dir: cni.join("bin"),
            conf_dir: cni.join("net.d"),
        }
    }

    /// The network configuration that the agent writes.
    pub fn conflist(&self) -> PathBuf {
        self.conf_dir.join("05-weft.conflist")
    }

    /// These as flags.
    pub fn flags(&self) -> Vec<String> {
        let path = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![
            format!("--api-server={}", self.api_server),
            path("service-account", &self.account),
            path("cni-bin-dir", &self.bin_dir),
            path("cni-conf-dir", &self.conf_dir),
        ]
    }
}

/// The pools of a node that asks for nothing else.
pub const POOLS: [&str; 2] = ["10.244.0.0/24", "fd00:10:244::/64"];

impl Settings {
    /// Dual stack, [`POOLS`].
    pub fn new(attach: impl Into<Option<Attach>>) -> Self {
        Self {
            node_name: "test".into(),
            attach: attach.into(),
            pod_cidrs: POOLS.map(str::to_owned).to_vec(),
            cluster: None,
            extra: Vec::new(),
            env: Vec::new(),
            sees_cgroups: true,
            mounts_bpffs: true,
            capabilities: None,
        }
    }

    /// With these pools.
    #[must_use]
    pub fn pools(mut self, cidrs: &[&str]) -> Self {
        self.pod_cidrs = cidrs.iter().map(|&cidr| cidr.to_owned()).collect();
        self
    }

    /// With one more flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.extra.push(flag.to_owned());
        self
    }

    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On a machine without cgroups of version 2.
    #[must_use]
    pub fn without_cgroups(mut self) -> Self {
        self.sees_cgroups = false;
        self
    }

    /// With an agent that has these capabilities and no other, as `net_admin`.
    #[must_use]
    pub fn capabilities(mut self, names: &[&str]) -> Self {
        self.capabilities = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// The agent's flags, its directories left out.
    pub fn flags(&self) -> Vec<String> {
        let name = format!("--node-name={}", self.node_name);
        let attach = self.attach.map(|attach| format!("--attach={}", attach.name()));
        let mode = match &self.cluster {
            Some(cluster) => cluster.flags(),
            None => vec!["--standalone".to_owned()],
        };
        let pools = self.pod_cidrs.iter().filter(|_| self.cluster.is_none());
        let pools = pools.map(|cidr| format!("--pod-cidr={cidr}"));
        mode.into_iter().chain([name]).chain(attach).chain(pools).chain(self.extra.iter().cloned()).collect()
    }
}
