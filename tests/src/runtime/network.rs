//! A network configuration list and the operations on it, chained as the CNI specification's section 3 says.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Attachment, execute, meaning};
use crate::need;
use crate::netns::Netns;

/// A network of one or more plugins, as in a `.conflist` file.
#[derive(Clone, Debug)]
pub struct Network {
    /// `name`.
    pub name: String,
    /// `cniVersion`.
    pub cni_version: String,
    /// `plugins`.
    pub plugins: Vec<Value>,
    /// What the runtime offers to plugins that declare the capability of the same name.
    pub capabilities: Value,
    /// `CNI_PATH`.
    pub path: Vec<PathBuf>,
}

impl Network {
    /// The network that weft ships, with this agent's socket.
    pub fn weft(socket: &Path) -> Self {
        Self::of(vec![Self::weft_plugin(socket)])
    }

    /// A network of these plugins.
    pub fn of(plugins: Vec<Value>) -> Self {
        Self {
            name: "weft".into(),
            cni_version: "1.1.0".into(),
            plugins,
            capabilities: json!({}),
            path: vec![need::dist(), need::REFERENCE_PLUGINS.into()],
        }
    }

    /// The plugin's object of the conflist that weft ships, with this agent's socket.
    pub fn weft_plugin(socket: &Path) -> Value {
        json!({
            "type": "weft-cni",
            "agentSocket": socket,
            "capabilities": {
                "ips": true, "mac": true, "dns": true, "ipRanges": true, "portMappings": true, "bandwidth": true
            }
        })
    }

    /// With another `cniVersion`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.cni_version);
        self
    }

    /// With another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// With a key of the last plugin set.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        if let Some(plugin) = self.plugins.last_mut() {
            plugin[key] = value;
        }
        self
    }

    /// With capability arguments from the runtime.
    #[must_use]
    pub fn offering(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The configuration that one plugin gets.
    pub fn config(&self, plugin: &Value, prev_result: Option<&Value>) -> Value {
        let mut config = plugin.clone();
        config["name"] = self.name.clone().into();
        config["cniVersion"] = self.cni_version.clone().into();
        let offered: serde_json::Map<_, _> = self
            .capabilities
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| plugin["capabilities"][name.as_str()] == true)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !offered.is_empty() {
            config["runtimeConfig"] = offered.into();
        }
        if let Some(result) = prev_result {
            config["prevResult"] = result.clone();
        }
        config
    }

    /// `CNI_PATH` as the environment has it.
    pub fn search_path(&self) -> Result<OsString> {
        env::join_paths(&self.path).context("CNI_PATH cannot hold these directories")
    }

    /// ADD through the whole chain; the result that the runtime would cache.
    pub fn add(&self, node: &Netns, attachment: &Attachment) -> Result<Value> {
        let mut result = None;
        for plugin in &self.plugins {
            let config = self.config(plugin, result.as_ref());
            result = Some(self.run(node, plugin, attachment.env("ADD"), &config)?);
        }
        result.context("a network without plugins")
    }

    /// DEL through the whole chain, the last plugin first, with the cached result if the version has it.
    pub fn del(&self, node: &Netns, attachment: &Attachment, cached: Option<&Value>) -> Result<()> {
        let cached = cached.filter(|_| !matches!(self.cni_version.as_str(), "0.1.0" | "0.2.0" | "0.3.0" | "0.3.1"));
        for plugin in self.plugins.iter().rev() {
            self.run(node, plugin, attachment.env("DEL"), &self.config(plugin, cached))?;
        }
        Ok(())
    }

    /// CHECK through the whole chain with the cached result.
    pub fn check(&self, node: &Netns, attachment: &Attachment, cached: &Value) -> Result<()> {
        for plugin in &self.plugins {
            let printed = self.run(node, plugin, attachment.env("CHECK"), &self.config(plugin, Some(cached)))?;
            anyhow::ensure!(printed.is_null(), "CHECK printed {printed}");
        }
        Ok(())
    }

    /// GC of every plugin, with the attachments that stay.
    pub fn gc(&self, node: &Netns, valid: &[&Attachment]) -> Result<()> {
        let valid: Vec<Value> =
            valid.iter().map(|one| json!({ "containerID": one.container_id, "ifname": one.ifname })).collect();
        for plugin in &self.plugins {
            let mut config = self.config(plugin, None);
            config["cni.dev/valid-attachments"] = valid.clone().into();
            self.run(node, plugin, vec![("CNI_COMMAND", "GC".into())], &config)?;
        }
        Ok(())
    }

    /// STATUS of every plugin.
    pub fn status(&self, node: &Netns) -> Result<()> {
        for plugin in &self.plugins {
            self.run(node, plugin, vec![("CNI_COMMAND", "STATUS".into())], &self.config(plugin, None))?;
        }
        Ok(())
    }

    /// One operation of one plugin.
    pub fn run(&self, node: &Netns, plugin: &Value, mut env: Vec<(&str, OsString)>, config: &Value) -> Result<Value> {
        env.push(("CNI_PATH", self.search_path()?));
        meaning(&execute(node, &self.find(plugin)?, &env, config.to_string().as_bytes())?)
    }

    /// The program of a plugin.
    pub fn find(&self, plugin: &Value) -> Result<PathBuf> {
        let kind = plugin["type"].as_str().context("a plugin without a type")?;
        if kind == "weft-cni" {
            return need::binary(kind);
        }
        let mut candidates = self.path.iter().map(|dir| dir.join(kind));
        candidates.find(|path| path.is_file()).with_context(|| format!("no plugin {kind:?} in {:?}", self.path))
    }
}
