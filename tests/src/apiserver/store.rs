//! The objects, their versions, and what happened to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::object::{Key, Kind, Object, fields};
use super::refusal::Refusal;

/// What the server knows.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: Arc<Objects>,
    history: VecDeque<Event>,
    /// Whoever asks for events after an earlier version is told that they are gone.
    forgotten: u64,
    /// Lists that are read page by page, by the version of each.
    snapshots: BTreeMap<u64, Arc<Objects>>,
    serial: u64,
}

/// Objects in their order.
pub(super) type Objects = BTreeMap<Key, Arc<Object>>;

/// What happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) old: Option<Arc<Object>>,
    /// As it is now, or was when it went.
    pub(super) new: Arc<Object>,
    pub(super) deleted: bool,
}

/// More than a test asks back for, and not without end.
const HISTORY: usize = 20_000;

/// Lists that may be read at once.
const SNAPSHOTS: usize = 16;

impl Store {
    /// The newest version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Everything as it is now.
    pub(super) fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Keeps everything of a version for a list's next pages; the oldest of many goes.
    pub(super) fn keep(&mut self, version: u64, objects: &Arc<Objects>) {
        self.snapshots.insert(version, Arc::clone(objects));
        if self.snapshots.len() > SNAPSHOTS {
            self.snapshots.pop_first();
        }
    }

    /// Everything as it was, if it was kept.
    pub(super) fn at(&self, version: u64) -> Option<Arc<Objects>> {
        self.snapshots.get(&version).cloned()
    }

    /// Forgets what happened so far, as a compaction does.
    pub(super) fn forget(&mut self) {
        self.history.clear();
        self.snapshots.clear();
        self.forgotten = self.version;
    }

    /// What happened to objects of a kind after a version.
    pub(super) fn since(&self, kind: &Kind, version: u64) -> Result<Vec<Event>, Refusal> {
        if version < self.forgotten {
            return Err(Refusal::gone(version, self.forgotten));
        }
        let start = self.history.partition_point(|event| event.version <= version);
        Ok(self.history.range(start..).filter(|event| event.new.key.kind == kind).cloned().collect())
    }

    /// An object.
    pub(super) fn get(&self, key: &Key) -> Result<Arc<Object>, Refusal> {
        self.objects.get(key).cloned().ok_or_else(|| Refusal::no_object(key))
    }

    /// A new object; one without a name gets one by its `generateName`.
    pub(super) fn create(&mut self, mut key: Key, mut json: Value) -> Result<Arc<Object>, Refusal> {
        if key.name.is_empty() {
            let prefix = json["metadata"]["generateName"].as_str().unwrap_or_default();
            if prefix.is_empty() {
                return Err(Refusal::invalid("name or generateName is required"));
            }
            self.serial += 1;
            key.name = format!("{prefix}{:05x}", self.serial);
            json["metadata"]["name"] = key.name.clone().into();
        }
        if self.objects.contains_key(&key) {
            return Err(Refusal::exists(&key));
        }
        Ok(self.put(key, json))
    }

    /// Puts an object in place of whatever is there; one that says nothing new makes no new version.
    pub(super) fn put(&mut self, key: Key, json: Value) -> Arc<Object> {
        let was = self.objects.get(&key).map(|old| old.json());
        self.replace(key, was.as_ref(), json)
    }

    /// The same for one who has read what is there.
    pub(super) fn replace(&mut self, key: Key, was: Option<&Value>, mut json: Value) -> Arc<Object> {
        let old = self.objects.get(&key).cloned();
        let metadata = fields(&mut json["metadata"]);
        metadata.insert("name".into(), key.name.clone().into());
        if key.kind.namespaced {
            metadata.insert("namespace".into(), key.namespace.clone().into());
        }
        if let Some(was) = was {
            for name in ["uid", "creationTimestamp", "resourceVersion"] {
                metadata.insert(name.into(), was["metadata"][name].clone());
            }
        } else {
            self.serial += 1;
            let uid = format!("00000000-0000-4000-8000-{:012x}", self.serial);
            metadata.entry("uid").or_insert_with(|| uid.into());
            metadata.entry("creationTimestamp").or_insert_with(|| "2026-01-02T03:04:05Z".into());
        }
        json["kind"] = key.kind.kind.into();
        json["apiVersion"] = key.kind.api_version().into();
        if let (Some(old), Some(was)) = (&old, was)
            && *was == json
        {
            return Arc::clone(old);
        }
        self.version += 1;
        json["metadata"]["resourceVersion"] = self.version.to_string().into();
        let new = Arc::new(Object::new(key.clone(), json));
        Arc::make_mut(&mut self.objects).insert(key, Arc::clone(&new));
        self.happened(Event { version: self.version, old, new: Arc::clone(&new), deleted: false });
        new
    }

    /// Removes an object; returns it as it was.
    pub(super) fn remove(&mut self, key: &Key) -> Result<Arc<Object>, Refusal> {
        let old = Arc::make_mut(&mut self.objects).remove(key).ok_or_else(|| Refusal::no_object(key))?;
        self.version += 1;
        let mut json = old.json();
        json["metadata"]["resourceVersion"] = self.version.to_string().into();
        let new = Arc::new(Object::new(key.clone(), json));
        self.happened(Event { version: self.version, old: Some(old), new: Arc::clone(&new), deleted: true });
        Ok(new)
    }

    fn happened(&mut self, event: Event) {
        self.history.push_back(event);
        if self.history.len() > HISTORY
            && let Some(event) = self.history.pop_front()
        {
            self.forgotten = event.version;
        }
    }
}

/// What a list holds of a kind, in a namespace or in all.
pub(super) fn of<'a>(
    objects: &'a Objects,
    kind: &'static Kind,
    namespace: &str,
) -> impl Iterator<Item = &'a Arc<Object>> {
    let namespace = namespace.to_owned();
    let first = Key { kind, namespace: namespace.clone(), name: String::new() };
    let all = namespace.is_empty();
    let range = objects.range(first..).map(|(_, object)| object);
    range.take_while(move |object| object.key.kind == kind && (all || object.key.namespace == namespace))
}

/// An object as it goes by in a test.
#[cfg(test)]
pub(super) fn pod(name: &str) -> (Key, Value) {
    let json =
        serde_json::json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "namespace": "shop", "name": name } });
    (Key { kind: super::object::PODS, namespace: "shop".into(), name: name.into() }, json)
}

#[cfg(test)]
mod tests {
    use super::super::object::{NODES, PODS};
    use super::*;

    #[test]
    fn versions_rise_with_what_changes() {
        let mut store = Store::default();
        let (key, mut json) = pod("web");
        store.create(key.clone(), json.clone()).unwrap();
        assert!(store.create(key.clone(), json.clone()).is_err(), "twice");
        store.put(key.clone(), json.clone());
        assert_eq!(store.version(), 1, "nothing new");
        json["spec"]["nodeName"] = "n1".into();
        store.put(key.clone(), json);
        store.remove(&key).unwrap();
        let events = store.since(PODS, 1).unwrap();
        assert_eq!(
            events.iter().map(|event| (event.version, event.deleted)).collect::<Vec<_>>(),
            [(2, false), (3, true)]
        );
        assert_eq!(events[1].new.json()["metadata"]["resourceVersion"], "3");
        assert!(store.since(NODES, 0).unwrap().is_empty());
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let mut store = Store::default();
        let (key, json) = pod("web");
        store.put(key, json);
        store.forget();
        assert!(store.since(PODS, 0).is_err() && store.since(PODS, 1).is_ok());
    }

    #[test]
    fn lists_are_of_a_kind_and_namespace() {
        let mut store = Store::default();
        for name in ["a", "b"] {
            let (key, json) = pod(name);
            store.put(key, json);
        }
        assert_eq!(of(store.objects(), PODS, "").count(), 2);
        assert_eq!(of(store.objects(), PODS, "shop").count(), 2);
        assert_eq!(of(store.objects(), PODS, "home").count() + of(store.objects(), NODES, "").count(), 0);
    }
}
