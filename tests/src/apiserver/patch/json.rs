//! JSON Patch: RFC 6902.

use serde_json::Value;

use super::super::refusal::Refusal;

/// Does each operation; what one of them finds otherwise than it says is refused.
pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let operations = patch.as_array().ok_or_else(|| Refusal::bad_request("a JSON patch is a list"))?;
    operations.iter().try_for_each(|operation| step(object, operation))
}

fn step(object: &mut Value, operation: &Value) -> Result<(), Refusal> {
    let wrong = |why: &str| Refusal::invalid(format!("the server rejected our request: {why}: {operation}"));
    let path = operation["path"].as_str().ok_or_else(|| wrong("no path"))?;
    let from = operation["from"].as_str().unwrap_or_default();
    let value = operation.get("value");
    let due = || value.cloned().ok_or_else(|| wrong("no value"));
    match operation["op"].as_str() {
        Some("test") => {
            let found = object.pointer(path).unwrap_or(&Value::Null);
            if found == value.unwrap_or(&Value::Null) { Ok(()) } else { Err(wrong("the test failed")) }
        }
        Some("add") => add(object, path, due()?).ok_or_else(|| wrong("no such place")),
        Some("remove") => remove(object, path).map(drop).ok_or_else(|| wrong("nothing is there")),
        Some("replace") => {
            *object.pointer_mut(path).ok_or_else(|| wrong("nothing is there"))? = due()?;
            Ok(())
        }
        Some("move") => {
            let moved = remove(object, from).ok_or_else(|| wrong("nothing is there"))?;
            add(object, path, moved).ok_or_else(|| wrong("no such place"))
        }
        Some("copy") => {
            let copied = object.pointer(from).cloned().ok_or_else(|| wrong("nothing is there"))?;
            add(object, path, copied).ok_or_else(|| wrong("no such place"))
        }
        _ => Err(wrong("an unknown operation")),
    }
}

/// The place above a path, and the last step to it.
fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(above)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = last.parse().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(fields) => fields.remove(&last),
        Value::Array(items) => {
            let at = last.parse().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_taint_goes_if_it_is_where_it_was() {
        let taint = json!({ "key": "weft.dev/agent-not-ready", "effect": "NoSchedule" });
        let node = json!({ "spec": { "taints": [{ "key": "a" }, taint] } });
        let patch = json!([
            { "op": "test", "path": "/spec/taints/1", "value": taint }, { "op": "remove", "path": "/spec/taints/1" }
        ]);
        let mut patched = node.clone();
        apply(&mut patched, &patch).unwrap();
        assert_eq!(patched, json!({ "spec": { "taints": [{ "key": "a" }] } }));
        let mut moved = json!({ "spec": { "taints": [taint, { "key": "a" }] } });
        assert!(apply(&mut moved, &patch).is_err());
    }

    #[test]
    fn names_may_hold_slashes() {
        let mut object = json!({ "a": {} });
        apply(&mut object, &json!([{ "op": "add", "path": "/a/weft.dev~1x", "value": 1 }])).unwrap();
        assert_eq!(object, json!({ "a": { "weft.dev/x": 1 } }));
    }
}
