//! Server-side apply, as far as a writer of a few fields meets it: what it applies is its own, what it no longer
//! applies goes, and what another one set otherwise is a conflict unless forced.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use serde_json::Value;

use super::super::object::{Key, fields};
use super::super::refusal::Refusal;
use super::owners::{self, Owner, Path};

/// Applies a configuration to an object.
pub(super) fn apply(object: &mut Value, config: &Value, writer: &Writer, key: &Key) -> Result<(), Refusal> {
    let manager = writer.manager.clone();
    let mut mine = Owner { manager, operation: "Apply", status: writer.status, paths: owners::paths(config) };
    let mut others = owners::read(object);
    let before = others.iter().position(|owner| owner.is(&mine)).map(|at| others.remove(at));
    for other in &mut others {
        let differs = |path: &&Path| {
            path.last().is_some_and(|step| step != ".") && owners::find(object, path) != owners::find(config, path)
        };
        let disputed: Vec<Path> = other.paths.intersection(&mine.paths).filter(differs).cloned().collect();
        if let Some(path) = disputed.first().filter(|_| !writer.force) {
            let why = format!("Apply failed with 1 conflict: conflict with {:?}: {}", other.manager, path.join(""));
            return Err(Refusal::conflict(key, &why));
        }
        other.paths.retain(|path| !disputed.contains(path));
    }
    for path in before.iter().flat_map(|owner| owner.paths.difference(&mine.paths)).rev_by_length() {
        if !others.iter().any(|other| other.paths.contains(&path)) {
            owners::remove(object, &path);
        }
    }
    merge(object, config, "");
    mine.paths.retain(|path| !path.is_empty());
    others.push(mine);
    owners::write(object, &others);
    Ok(())
}

/// Who writes, and how.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) manager: String,
    /// Whether by the subresource.
    pub(super) status: bool,
    pub(super) force: bool,
}

/// Notes who changed what by an update or a patch.
pub(super) fn note(old: &Value, new: &mut Value, writer: &Writer) {
    let changed = owners::paths(new);
    let changed = changed.into_iter().filter(|path| owners::find(old, path) != owners::find(new, path)).collect();
    let mine = Owner { manager: writer.manager.clone(), operation: "Update", status: writer.status, paths: changed };
    let mut known = owners::read(old);
    for owner in &mut known {
        owner.paths.retain(|path| !mine.paths.contains(path) && owners::find(new, path).is_some());
    }
    match known.iter_mut().find(|owner| owner.is(&mine)) {
        Some(owner) => owner.paths.extend(mine.paths),
        None => known.push(mine),
    }
    owners::write(new, &known);
}

/// Longest paths first: what is in an item goes before the item.
trait ByLength {
    fn rev_by_length(self) -> std::vec::IntoIter<Path>;
}

impl<'a, I: Iterator<Item = &'a Path>> ByLength for I {
    fn rev_by_length(self) -> std::vec::IntoIter<Path> {
        let mut paths: Vec<Path> = self.cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        paths.into_iter()
    }
}

fn merge(target: &mut Value, config: &Value, name: &str) {
    match (config, owners::key(name)) {
        (Value::Object(config), _) => {
            let target = fields(target);
            for (name, value) in config {
                merge(target.entry(name.as_str()).or_insert(Value::Null), value, name);
            }
        }
        (Value::Array(items), Some(key)) => {
            let mut known = target.as_array().cloned().unwrap_or_default();
            for item in items {
                if let Some(at) = known.iter().position(|one| one[key] == item[key]) {
                    merge(&mut known[at], item, "");
                } else {
                    known.push(item.clone());
                }
            }
            *target = known.into();
        }
        (value, _) => *target = value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::object::NODES;
    use super::*;

    fn applied(object: &mut Value, manager: &str, force: bool, conditions: &Value) -> Result<(), Refusal> {
        let config = json!({ "kind": "Node", "apiVersion": "v1", "status": { "conditions": conditions } });
        let key = Key { kind: NODES, namespace: String::new(), name: "n1".into() };
        apply(object, &config, &Writer { manager: manager.into(), status: true, force }, &key)
    }

    #[test]
    fn what_is_applied_is_owned_and_goes_when_it_is_applied_no_more() {
        let mut node = json!({ "apiVersion": "v1", "metadata": {}, "status": { "conditions": [{ "type": "Ready" }] } });
        applied(&mut node, "weft", false, &json!([{ "type": "NetworkUnavailable", "status": "False" }])).unwrap();
        assert_eq!(node["status"]["conditions"].as_array().map(Vec::len), Some(2));
        applied(&mut node, "weft", false, &json!([])).unwrap();
        assert_eq!(node["status"]["conditions"], json!([{ "type": "Ready" }]));
    }

    #[test]
    fn what_another_one_set_is_a_conflict_unless_forced() {
        let mut node = json!({ "apiVersion": "v1", "metadata": {} });
        let [no, yes] = ["False", "True"].map(|status| json!([{ "type": "NetworkUnavailable", "status": status }]));
        applied(&mut node, "cloud", false, &yes).unwrap();
        assert!(applied(&mut node, "weft", false, &no).is_err());
        applied(&mut node, "weft", true, &no).unwrap();
        assert_eq!(node["status"]["conditions"][0]["status"], "False");
    }

    #[test]
    fn updates_are_noted() {
        let old = json!({ "apiVersion": "v1", "metadata": {}, "spec": { "a": 1, "b": 2 } });
        let mut new = json!({ "apiVersion": "v1", "metadata": {}, "spec": { "a": 1, "b": 3 } });
        note(&old, &mut new, &Writer { manager: "kubelet".into(), status: false, force: false });
        assert_eq!(new["metadata"]["managedFields"][0]["fieldsV1"], json!({ "f:spec": { "f:b": {} } }));
    }
}
