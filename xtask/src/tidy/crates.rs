//! Which crate of the workspace may know which.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// A crate and all that it may know of ours.
const EDGES: [(&str, &[&str]); 6] = [
    ("weft-abi", &[]),
    ("weft-bpf", &["weft-abi"]),
    ("weft-cni", &[]),
    ("weft-agent", &["weft-abi", "weft-cni"]),
    ("weft-tests", &["weft-abi", "weft-agent", "weft-cni"]),
    ("xtask", &[]),
];

/// Checks the output of `cargo metadata --no-deps`.
pub(crate) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
    let manifest = Path::new("Cargo.toml");
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            findings.push(Finding::at(manifest, 0, format!("{name}: say in xtask/src/tidy whom it may know")));
            continue;
        };
        let dependencies = package["dependencies"].as_array().context("a package without dependencies")?;
        for dependency in dependencies.iter().filter_map(|dependency| dependency["name"].as_str()) {
            let ours = EDGES.iter().any(|(known, _)| *known == dependency);
            if ours && !allowed.contains(&dependency) {
                findings.push(Finding::at(manifest, 0, format!("{name} may not know {dependency}")));
            } else if name == "weft-abi" {
                findings.push(Finding::at(manifest, 0, format!("weft-abi depends on nothing, not on {dependency}")));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(name: &str, dependency: &str) -> usize {
        let metadata = json!({ "packages": [{ "name": name, "dependencies": [{ "name": dependency }] }] });
        check(&metadata).unwrap().len()
    }

    #[test]
    fn edges_point_one_way() {
        assert_eq!(count("weft-agent", "weft-cni"), 0);
        assert_eq!(count("weft-cni", "weft-agent"), 1);
        assert_eq!(count("weft-cni", "serde"), 0);
    }

    #[test]
    fn the_abi_depends_on_nothing() {
        assert_eq!(count("weft-abi", "serde"), 1);
    }

    #[test]
    fn a_new_crate_is_asked_about() {
        assert_eq!(count("weft-new", "serde"), 1);
    }
}
