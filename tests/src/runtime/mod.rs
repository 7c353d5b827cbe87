//! What a container runtime does with CNI plugins: executes them with an environment and a configuration.

mod network;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::exec::{self, Output};
use crate::netns::Netns;

pub use network::Network;

/// One container's interface, as the runtime names it.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; empty when the runtime has lost it.
    pub netns: PathBuf,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
}

impl Attachment {
    /// The same container's other interface.
    #[must_use]
    pub fn interface(&self, ifname: &str) -> Self {
        Self { ifname: ifname.to_owned(), ..self.clone() }
    }

    /// With these `CNI_ARGS`.
    #[must_use]
    pub fn args(&self, args: &str) -> Self {
        Self { args: args.to_owned(), ..self.clone() }
    }

    /// Without a namespace, as a runtime asks after a reboot.
    #[must_use]
    pub fn without_netns(&self) -> Self {
        Self { netns: PathBuf::new(), ..self.clone() }
    }

    /// The environment of an operation on it.
    pub fn env(&self, operation: &str) -> Vec<(&'static str, OsString)> {
        [
            ("CNI_COMMAND", operation.into()),
            ("CNI_CONTAINERID", self.container_id.clone().into()),
            ("CNI_NETNS", self.netns.clone().into()),
            ("CNI_IFNAME", self.ifname.clone().into()),
            ("CNI_ARGS", self.args.clone().into()),
        ]
        .into_iter()
        .filter(|(_, value): &(_, OsString)| !value.is_empty())
        .collect()
    }
}

/// An error as a plugin printed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// `cniVersion`.
    pub cni_version: String,
    /// `code`.
    pub code: u64,
    /// `msg`.
    pub msg: String,
    /// `details`.
    pub details: String,
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}: {} {}", self.code, self.msg, self.details)
    }
}

impl std::error::Error for CniError {}

/// Executes a plugin in a node's namespace with exactly this environment.
pub fn execute(node: &Netns, plugin: &Path, env: &[(&str, OsString)], stdin: &[u8]) -> Result<Output> {
    let mut command = Command::new(plugin);
    // Portmap and others look for programs; nothing else of our environment reaches a plugin.
    command.current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().cloned());
    node.enter(|| exec::output(&mut command, stdin))?
}

/// What a plugin's answer means: its result, null when it printed none, or its [`CniError`].
pub fn meaning(output: &Output) -> Result<Value> {
    let text = output.text();
    if output.status.success() {
        if text.is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_str(&text).with_context(|| format!("a plugin printed other than JSON: {text:?}"));
    }
    ensure!(output.status.code().is_some(), "a plugin ended by a signal: {}", output.status);
    let json: Value = serde_json::from_str(&text)
        .with_context(|| format!("a plugin failed without a JSON error: {text:?} {:?}", output.complaint()))?;
    let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    bail!(CniError {
        cni_version: field("cniVersion"),
        code: json["code"].as_u64().with_context(|| format!("an error without a code: {text}"))?,
        msg: field("msg"),
        details: field("details"),
    })
}

/// The error that a plugin must have answered with.
pub fn refused<T: fmt::Debug>(answer: Result<T>) -> Result<CniError> {
    match answer {
        Ok(value) => bail!("an error was due, and this came: {value:?}"),
        Err(error) => error.downcast::<CniError>(),
    }
}
