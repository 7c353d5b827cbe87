//! What a role grants, from the manifest that is applied.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::apiserver::Ask;

const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];

/// The grants in a manifest whose rules are written on three lines each, lists in brackets.
pub fn granted(manifest: &str) -> Result<BTreeSet<Ask>> {
    let mut granted = BTreeSet::new();
    let (mut groups, mut resources) = (Vec::new(), Vec::new());
    for line in manifest.lines() {
        let line = line.trim().trim_start_matches("- ");
        if let Some(text) = line.strip_prefix("apiGroups:") {
            groups = list(text)?;
        } else if let Some(text) = line.strip_prefix("resources:") {
            resources = list(text)?;
        } else if let Some(text) = line.strip_prefix("verbs:") {
            for verb in list(text)? {
                let verb = VERBS.iter().find(|one| **one == verb).with_context(|| format!("an unknown verb {verb}"))?;
                for resource in &resources {
                    ensure!(groups == [""], "a grant in other groups: {groups:?}");
                    granted.insert(Ask { verb, group: "", resource: resource.clone() });
                }
            }
        }
    }
    ensure!(!granted.is_empty(), "the manifest grants nothing");
    Ok(granted)
}

fn list(text: &str) -> Result<Vec<String>> {
    let inner = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.with_context(|| format!("no list in brackets: {text}"))?;
    Ok(inner.split(',').map(|one| one.trim().trim_matches('"').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let text = "rules:\n  - apiGroups: [\"\"]\n    resources: [pods, nodes/status]\n    verbs: [list, patch]\n";
        let granted = granted(text).unwrap();
        assert_eq!(granted.len(), 4);
        assert!(granted.contains(&Ask { verb: "patch", group: "", resource: "nodes/status".into() }));
    }
}
