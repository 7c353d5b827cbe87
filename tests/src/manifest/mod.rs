//! What is applied to a cluster: as kustomize and as Helm put it together, and whether a cluster knows it.

mod chart;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec;

pub use chart::{Chart, sha256};
pub use schema::check;

/// The objects of a kustomize directory.
pub fn kustomize(directory: &Path) -> Result<Vec<Value>> {
    parse(&exec::tool("kubectl", &["kustomize", &directory.to_string_lossy()])?)
}

/// The documents of a YAML text; empty ones do not count.
pub fn parse(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("is no YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The object of a kind and a name.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.with_context(|| format!("there is no {kind} {name}"))
}

/// Where two sets of objects differ, a line each: objects by kind and name, then every key and every value.
pub fn differences(one: &[Value], other: &[Value]) -> Vec<String> {
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
    let names: BTreeSet<_> = one.iter().chain(other).map(name).collect();
    let mut found = Vec::new();
    for each in names {
        let [left, right] = [one, other].map(|objects| objects.iter().filter(|object| name(object) == each).collect());
        compare(&each, &left, &right, &mut found);
    }
    found
}

fn compare(name: &str, left: &Vec<&Value>, right: &Vec<&Value>, found: &mut Vec<String>) {
    match (left.as_slice(), right.as_slice()) {
        ([left], [right]) => descend(name, left, right, found),
        _ => found.push(format!("{name}: {} against {}", left.len(), right.len())),
    }
}

fn descend(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let [left, right] = [left, right].map(|object| object.get(key).unwrap_or(&Value::Null));
                descend(&format!("{path}.{key}"), left, right, found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                descend(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ if left != right => found.push(format!("{path}: {left} against {right}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_named() {
        let pod = |spec: Value| json!({ "kind": "Pod", "metadata": { "name": "a" }, "spec": spec });
        let one = [pod(json!({ "x": [1, { "y": 2 }], "z": "1" }))];
        assert!(differences(&one, &one).is_empty());
        let other = [pod(json!({ "x": [1, { "y": 3 }], "z": 1, "w": true }))];
        assert_eq!(
            differences(&one, &other),
            ["Pod a.spec.w: null against true", "Pod a.spec.x[1].y: 2 against 3", "Pod a.spec.z: \"1\" against 1"]
        );
        assert_eq!(differences(&one, &[]), ["Pod a: 1 against 0"]);
    }
}
