//! The peers file: whom a node knows.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

/// One node as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `name`.
    pub name: String,
    /// `addresses`.
    pub addresses: Vec<IpAddr>,
    /// `pod-cidrs`.
    pub pod_cidrs: Vec<String>,
}

/// The file's text.
pub fn text(peers: &[Peer]) -> String {
    let mut text = String::new();
    for peer in peers {
        let addresses: Vec<String> = peer.addresses.iter().map(|address| format!("{address:?}")).collect();
        // A string never fails to grow.
        let _ = writeln!(
            text,
            "[[peer]]\nname = {:?}\naddresses = {addresses:?}\npod-cidrs = {:?}\n",
            peer.name, peer.pod_cidrs
        );
    }
    text
}

/// Puts a file in place whole, as a careful administrator does.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).with_context(|| format!("write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("rename {}", fresh.display()))
}
