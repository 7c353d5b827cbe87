//! What the agent last knew of its node, for the one that starts while the API server is away.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::run_dir::{RunDir, replace};

/// The file.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    node: String,
    boot: String,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Pod ranges of this node.
    pub(crate) ranges: Vec<IpNet>,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    node: String,
    boot: String,
    ranges: Vec<IpNet>,
    addresses: Vec<IpAddr>,
}

impl Cache {
    /// The cache of the node with that name in this boot.
    pub(crate) fn new(run_dir: &RunDir, node: &str, boot: &str) -> Self {
        Self { path: run_dir.node_cache(), node: node.to_owned(), boot: boot.to_owned() }
    }

    /// What an agent has left here in this boot, under this name. What cannot be read is as good as none.
    pub(crate) fn read(&self) -> Option<Known> {
        let file: File = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        let File { node, boot, ranges, addresses } = file;
        (node == self.node && boot == self.boot && !ranges.is_empty()).then_some(Known { ranges, addresses })
    }

    /// Writes it, whole or not at all.
    pub(crate) fn write(&self, known: &Known) -> io::Result<()> {
        let Known { ranges, addresses } = known.clone();
        let file = File { node: self.node.clone(), boot: self.boot.clone(), ranges, addresses };
        replace(&self.path, &serde_json::to_vec(&file)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_node_in_this_boot_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path().to_owned());
        let cache = |node, boot| Cache::new(&run_dir, node, boot);
        let known = Known {
            ranges: vec!["10.1.0.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
        };
        assert_eq!(cache("n1", "b1").read(), None);
        cache("n1", "b1").write(&known).unwrap();
        assert_eq!(cache("n1", "b1").read(), Some(known));
        assert_eq!((cache("n2", "b1").read(), cache("n1", "b2").read()), (None, None));
        fs::write(run_dir.node_cache(), "{\"node\":").unwrap();
        assert_eq!(cache("n1", "b1").read(), None);
    }
}
