//! Objects as the server keeps them: their text, and what is selected by.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

/// A resource of the API.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// API group; empty for the first one.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// As in paths and roles.
    pub plural: &'static str,
    /// As in objects.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether it has a subresource `status`.
    pub status: bool,
}

const fn core(plural: &'static str, kind: &'static str, namespaced: bool, status: bool) -> Kind {
    Kind { group: "", version: "v1", plural, kind, namespaced, status }
}

/// Nodes.
pub const NODES: &Kind = &core("nodes", "Node", false, true);
/// Pods.
pub const PODS: &Kind = &core("pods", "Pod", true, true);
/// Services.
pub const SERVICES: &Kind = &core("services", "Service", true, true);

/// Whatever the server has.
pub(super) const KINDS: [&Kind; 6] = [
    NODES,
    PODS,
    SERVICES,
    &core("namespaces", "Namespace", false, true),
    &core("configmaps", "ConfigMap", true, false),
    &Kind {
        group: "discovery.k8s.io",
        version: "v1",
        plural: "endpointslices",
        kind: "EndpointSlice",
        namespaced: true,
        status: false,
    },
];

impl Kind {
    /// As in `apiVersion`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: &'static Kind,
    /// Empty where the kind has none.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    /// The key of an object that says what it is.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = KINDS.iter().find(|one| object["kind"] == one.kind && object["apiVersion"] == one.api_version())?;
        let metadata = &object["metadata"];
        Some(Self { kind, namespace: text(&metadata["namespace"]), name: text(&metadata["name"]) })
    }
}

/// One version of an object; five thousand large ones are kept as text.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: Key,
    /// Without `kind` and `apiVersion`, as lists have it.
    text: Bytes,
    pub(super) labels: BTreeMap<String, String>,
    /// `spec.nodeName`.
    pub(super) node: Option<String>,
}

impl Object {
    /// From JSON whose metadata is complete.
    pub(super) fn new(key: Key, mut json: Value) -> Self {
        if let Some(fields) = json.as_object_mut() {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        let labels = json["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let node = json["spec"]["nodeName"].as_str().map(str::to_owned);
        Self { key, text: json.to_string().into(), labels, node }
    }

    /// As items of a list are.
    pub(super) fn item(&self) -> &Bytes {
        &self.text
    }

    /// As it is answered alone, and in events.
    pub(super) fn whole(&self) -> Bytes {
        let Key { kind, .. } = &self.key;
        let head = format!(r#"{{"kind":"{}","apiVersion":"{}","#, kind.kind, kind.api_version());
        [head.as_bytes(), self.text.get(1..).unwrap_or_default()].concat().into()
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.whole()).unwrap_or_default()
    }
}

/// An object's fields; those of what is none are empty.
pub(super) fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("it has just become an object"),
    }
}
