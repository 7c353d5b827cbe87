//! Changes to an object by the four kinds of patch, and by replacing it.

mod apply;
mod json;
mod merge;
mod owners;

use serde_json::Value;

use super::object::Key;
use super::query::Query;
use super::refusal::Refusal;

/// What a request changes an object to.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) query: &'a Query,
    /// `Content-Type` without parameters.
    pub(super) media: &'a str,
    /// Who writes, unless the request says.
    pub(super) agent: &'a str,
    pub(super) body: Value,
}

/// The type of an applied configuration.
const APPLY: &str = "application/apply-patch+yaml";

impl Change<'_> {
    /// Whether it makes an object that is not there.
    pub(super) fn creates(&self) -> bool {
        self.media == APPLY && self.query.verb == "patch"
    }

    /// What the object becomes.
    pub(super) fn of(&self, key: &Key, old: &Value) -> Result<Value, Refusal> {
        let mut new = old.clone();
        let manager = match (self.query.param("fieldManager"), self.media) {
            ("", APPLY) => return Err(Refusal::bad_request("fieldManager is required for apply patch")),
            ("", _) => self.agent.to_owned(),
            (name, _) => name.to_owned(),
        };
        let writer = apply::Writer { manager, status: self.query.status, force: self.query.is_set("force") };
        match (self.query.verb, self.media) {
            ("update", _) => new.clone_from(&self.body),
            (_, "application/merge-patch+json") => merge::merge(&mut new, &self.body),
            (_, "application/strategic-merge-patch+json") => merge::strategic(&mut new, &self.body),
            (_, "application/json-patch+json") => json::apply(&mut new, &self.body)?,
            (_, APPLY) => {
                if self.body["metadata"]["managedFields"].is_array() {
                    return Err(Refusal::bad_request("metadata.managedFields must be nil"));
                }
                apply::apply(&mut new, &self.body, &writer, key)?;
            }
            (_, other) => return Err(Refusal::media(other)),
        }
        check(key, old, &new)?;
        self.keep(old, &mut new);
        if self.media != APPLY {
            apply::note(old, &mut new, &writer);
        }
        Ok(new)
    }

    /// A subresource changes itself alone, and the rest does not change it.
    fn keep(&self, old: &Value, new: &mut Value) {
        if !self.query.kind.status || old.is_null() {
            return;
        }
        if self.query.status {
            let (status, managed) = (new["status"].take(), new["metadata"]["managedFields"].take());
            new.clone_from(old);
            new["status"] = status;
            new["metadata"]["managedFields"] = managed;
        } else if old.get("status").is_some() {
            new["status"] = old["status"].clone();
        } else if let Some(fields) = new.as_object_mut() {
            fields.remove("status");
        }
    }
}

/// Refuses what is about another version or another object.
fn check(key: &Key, old: &Value, new: &Value) -> Result<(), Refusal> {
    let version = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && old["metadata"]["resourceVersion"] != version && !old.is_null() {
        return Err(Refusal::conflict(
            key,
            "the object has been modified; please apply your changes to the latest version and try again",
        ));
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL"
        )));
    }
    Ok(())
}
