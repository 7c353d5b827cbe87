//! Field and label selectors.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use super::object::Object;
use super::refusal::Refusal;

/// Which objects a request is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    fields: Vec<(String, bool, String)>,
    labels: Vec<(String, Test)>,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    /// From a request's `fieldSelector` and `labelSelector`.
    pub(super) fn parse(fields: &str, labels: &str) -> Result<Self, Refusal> {
        let fields = fields.split(',').filter(|part| !part.is_empty()).map(field).collect::<Result<_, _>>()?;
        Ok(Self { fields, labels: requirements(labels).iter().map(|one| label(one)).collect() })
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    /// Whether an object is meant.
    pub(super) fn has(&self, object: &Object) -> bool {
        let field = |name: &str| match name {
            "metadata.name" => object.key.name.as_str(),
            "metadata.namespace" => object.key.namespace.as_str(),
            _ => object.node.as_deref().unwrap_or_default(),
        };
        let label = |name: &String| object.labels.get(name);
        self.fields.iter().all(|(name, equal, value)| (field(name) == value) == *equal)
            && self.labels.iter().all(|(name, test)| match test {
                Test::In(values) => label(name).is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => label(name).is_none_or(|value| !values.contains(value)),
                Test::Exists => label(name).is_some(),
                Test::Missing => label(name).is_none(),
            })
    }
}

fn field(part: &str) -> Result<(String, bool, String), Refusal> {
    let bad = || Refusal::bad_request(format!("field selector {part:?} is not supported"));
    let (name, value) = part.split_once("==").or_else(|| part.split_once('=')).ok_or_else(bad)?;
    let (name, equal) = name.strip_suffix('!').map_or((name, true), |name| (name, false));
    if !["metadata.name", "metadata.namespace", "spec.nodeName"].contains(&name) {
        return Err(bad());
    }
    Ok((name.to_owned(), equal, value.to_owned()))
}

/// Parts between commas that are not within parentheses.
fn requirements(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (letter, depth, parts.last_mut()) {
            (',', 0, _) => parts.push(String::new()),
            (_, _, Some(last)) => last.push(letter),
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn label(part: &str) -> (String, Test) {
    let part = part.trim();
    let set = |list: &str| list.trim_matches(['(', ')']).split(',').map(|one| one.trim().to_owned()).collect();
    let (name, test) = if let Some((name, list)) = part.split_once(" notin ") {
        (name, Test::NotIn(set(list)))
    } else if let Some((name, list)) = part.split_once(" in ") {
        (name, Test::In(set(list)))
    } else if let Some((name, value)) = part.split_once("!=") {
        (name, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (name, Test::In(vec![value.trim().to_owned()]))
    } else if let Some(name) = part.strip_prefix('!') {
        (name, Test::Missing)
    } else {
        (part, Test::Exists)
    };
    (name.trim().to_owned(), test)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::object::Key;

    fn selects(fields: &str, labels: &str) -> bool {
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1", "spec": { "nodeName": "n1" },
            "metadata": { "namespace": "shop", "name": "web", "labels": { "app": "web", "tier": "front" } },
        });
        let object = Object::new(Key::of(&pod).unwrap(), pod);
        Selector::parse(fields, labels).unwrap().has(&object)
    }

    #[test]
    fn fields_select() {
        assert!(selects("spec.nodeName=n1", "") && !selects("spec.nodeName=n2", ""));
        assert!(selects("metadata.name==web,spec.nodeName!=n2", ""));
        assert!(Selector::parse("spec.color=red", "").is_err());
    }

    #[test]
    fn labels_select() {
        assert!(selects("", "app=web,tier in (front, back)") && !selects("", "app!=web"));
        assert!(selects("", "tier") && !selects("", "!tier") && selects("", "tier notin (back),!color"));
    }
}
