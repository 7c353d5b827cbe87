//! Merge patches: RFC 7386, and the strategic ones that know of lists with keys.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

use serde_json::Value;

use super::super::object::fields;

/// A merge patch.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let target = fields(target);
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// The key by which the items of a list are told apart, for lists that are merged.
///
/// `patchMergeKey` of the fields in <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/api/core/v1/types.go>.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "conditions" | "addresses" => Some("type"),
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
        "ownerReferences" => Some("uid"),
        "podIPs" | "hostIPs" => Some("ip"),
        _ => None,
    }
}

/// Lists of plain values that are merged.
const SETS: [&str; 2] = ["podCIDRs", "finalizers"];

/// A strategic merge patch.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if patch.get("$patch").is_some_and(|word| word == "replace") {
        *target = Value::Object(patch.iter().filter(|(name, _)| !name.starts_with('$')).map(own).collect());
        return;
    }
    let target = fields(target);
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(items) = target.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
            // How items are ordered matters to nobody here.
        } else if value.is_null() {
            target.remove(name);
        } else {
            let place = target.entry(name.as_str()).or_insert(Value::Null);
            match (value.as_array(), merge_key(name)) {
                (Some(items), Some(key)) => list(place, items, key),
                (Some(items), None) if SETS.contains(&name.as_str()) => set(place, items),
                _ => strategic(place, value),
            }
        }
    }
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn list(target: &mut Value, patch: &[Value], key: &str) {
    let mut items = target.as_array().cloned().unwrap_or_default();
    if patch.iter().any(|one| one["$patch"] == "replace") {
        items.clear();
    }
    for one in patch {
        let at = items.iter().position(|item| item[key] == one[key]);
        match (one["$patch"].as_str(), at) {
            (Some("delete"), _) => items.retain(|item| item[key] != one[key]),
            (Some("replace"), _) => {}
            (_, Some(at)) => strategic(&mut items[at], one),
            (_, None) => {
                let mut item = Value::Null;
                strategic(&mut item, one);
                items.push(item);
            }
        }
    }
    *target = items.into();
}

fn set(target: &mut Value, patch: &[Value]) {
    let mut items = target.as_array().cloned().unwrap_or_default();
    items.extend(patch.iter().filter(|one| !items.contains(one)).cloned().collect::<Vec<_>>());
    *target = items.into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_merged_by_type() {
        let mut node =
            json!({ "conditions": [{ "type": "Ready", "status": "True" }, { "type": "X", "status": "True" }] });
        let patch = json!({
            "$setElementOrder/conditions": [{ "type": "X" }],
            "conditions": [{ "type": "X", "status": "False" }, { "type": "New", "status": "True" }],
        });
        strategic(&mut node, &patch);
        assert_eq!(
            node["conditions"],
            json!([
                { "type": "Ready", "status": "True" }, { "type": "X", "status": "False" },
                { "type": "New", "status": "True" }
            ])
        );
        strategic(&mut node, &json!({ "conditions": [{ "type": "X", "$patch": "delete" }] }));
        assert_eq!(node["conditions"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_by_null() {
        let mut node = json!({ "spec": { "taints": [1, 2], "podCIDR": "10.244.0.0/24" } });
        merge(&mut node, &json!({ "spec": { "taints": [3], "podCIDR": null } }));
        assert_eq!(node, json!({ "spec": { "taints": [3] } }));
    }

    #[test]
    fn plain_lists_are_sets_or_replaced() {
        let mut spec = json!({ "podCIDRs": ["a", "b"], "args": [1] });
        strategic(&mut spec, &json!({ "$deleteFromPrimitiveList/podCIDRs": ["a"], "podCIDRs": ["c"], "args": [2] }));
        assert_eq!(spec, json!({ "podCIDRs": ["b", "c"], "args": [2] }));
        // Taints have keys, by which nobody merges them.
        let mut spec = json!({ "taints": [{ "key": "a" }] });
        strategic(&mut spec, &json!({ "taints": [{ "key": "b" }] }));
        assert_eq!(spec, json!({ "taints": [{ "key": "b" }] }));
    }
}
