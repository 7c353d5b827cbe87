//! Who set which fields: `metadata.managedFields`.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::object::fields;

/// Steps to a field, as `fieldsV1` writes them; `.` at the end is the item of a list itself.
pub(super) type Path = Vec<String>;

/// One writer's fields.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) manager: String,
    /// `Apply` or `Update`.
    pub(super) operation: &'static str,
    /// Whether by the subresource.
    pub(super) status: bool,
    pub(super) paths: BTreeSet<Path>,
}

impl Owner {
    /// Whether it is the same writer in the same way.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.manager == other.manager && self.operation == other.operation && self.status == other.status
    }
}

/// The key by which applied lists are told apart; other lists are set whole, taints among them.
pub(super) fn key(list: &str) -> Option<&'static str> {
    match list {
        "conditions" | "addresses" => Some("type"),
        "containers" | "initContainers" => Some("name"),
        _ => None,
    }
}

/// The fields that an object sets, apart from what says which object it is.
pub(super) fn paths(object: &Value) -> BTreeSet<Path> {
    let mut object = object.clone();
    let top = fields(&mut object);
    top.retain(|name, _| name != "kind" && name != "apiVersion");
    if let Some(metadata) = top.get_mut("metadata") {
        fields(metadata).retain(|name, _| matches!(name.as_str(), "labels" | "annotations" | "finalizers"));
    }
    let mut found = BTreeSet::new();
    walk(&object, &mut Vec::new(), &mut found);
    found
}

fn walk(value: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let key = path.last().and_then(|step| key(step.strip_prefix("f:")?));
    match (value, key) {
        (Value::Object(fields), _) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(format!("f:{name}"));
                walk(value, path, found);
                path.pop();
            }
        }
        (Value::Array(items), Some(key)) => {
            for item in items {
                path.push(format!("k:{}", json!({ key: item[key] })));
                found.insert([path.as_slice(), &[".".to_owned()]].concat());
                walk(item, path, found);
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

/// What stands at a path.
pub(super) fn find<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| match step.split_at_checked(2) {
        Some(("f:", name)) => value.get(name),
        Some(("k:", key)) => value.as_array()?.iter().find(|item| matches(item, key)),
        _ => Some(value),
    })
}

/// Whether an item has the key of a step.
pub(super) fn matches(item: &Value, key: &str) -> bool {
    let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
    key.iter().all(|(name, value)| item[name] == *value)
}

/// Takes away what stands at a path.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    let last = rest.is_empty() || rest == ["."];
    match step.split_at_checked(2) {
        Some(("f:", name)) if last => {
            fields(object).remove(name);
        }
        Some(("f:", name)) => object.get_mut(name).into_iter().for_each(|value| remove(value, rest)),
        Some(("k:", key)) => {
            let Some(items) = object.as_array_mut() else { return };
            if last {
                items.retain(|item| !matches(item, key));
            } else {
                items.iter_mut().filter(|item| matches(item, key)).for_each(|item| remove(item, rest));
            }
        }
        _ => {}
    }
}

/// The owners that an object names.
pub(super) fn read(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let mut paths = BTreeSet::new();
            unfold(&entry["fieldsV1"], &mut Vec::new(), &mut paths);
            Owner {
                manager: entry["manager"].as_str().unwrap_or_default().to_owned(),
                operation: if entry["operation"] == "Apply" { "Apply" } else { "Update" },
                status: entry["subresource"] == "status",
                paths,
            }
        })
        .collect()
}

fn unfold(tree: &Value, path: &mut Path, paths: &mut BTreeSet<Path>) {
    let fields = tree.as_object().into_iter().flatten();
    for (step, below) in fields {
        path.push(step.clone());
        if below.as_object().is_none_or(Map::is_empty) {
            paths.insert(path.clone());
        } else {
            unfold(below, path, paths);
        }
        path.pop();
    }
}

/// Names these owners in an object; one that owns nothing is none.
pub(super) fn write(object: &mut Value, owners: &[Owner]) {
    let version = object["apiVersion"].clone();
    let entries = owners.iter().filter(|owner| !owner.paths.is_empty()).map(|owner| {
        let mut tree = json!({});
        for path in &owner.paths {
            let _ = path.iter().fold(&mut tree, |tree, step| fields(tree).entry(step.as_str()).or_insert(json!({})));
        }
        let mut entry = json!({
            "manager": owner.manager, "operation": owner.operation, "apiVersion": version,
            "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": tree,
        });
        if owner.status {
            entry["subresource"] = "status".into();
        }
        entry
    });
    let entries: Vec<Value> = entries.collect();
    fields(&mut object["metadata"]).insert("managedFields".into(), entries.into());
}
