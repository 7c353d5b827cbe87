//! What of the API's objects is read, and who keeps what of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::view::Topic;

/// One kind of objects: what is read of each, what is kept, and what becomes of all.
pub(super) trait Objects {
    /// As it is read; everything else is skipped unread.
    type Raw: DeserializeOwned + Raw;
    type Key: Ord + Clone;
    /// Differs exactly when something that is used does.
    type Kept: PartialEq;

    const TOPIC: Topic;
    /// Of one object.
    const KIND: &'static str;
    /// Of a list of them.
    const LIST: &'static str;
    const PATH: &'static str;

    /// Which objects are asked for, by their fields; all of them without.
    fn fields(&self) -> Option<String> {
        None
    }

    fn keep(&self, raw: Self::Raw) -> (Self::Key, Self::Kept);

    /// Whether a list may take away what it does not have. A server that was restored from nothing has none of
    /// what still runs.
    fn trusts(&self, listed: &BTreeMap<Self::Key, Self::Kept>) -> bool;

    /// Something has changed. `held` are those that the newest list had not, and that stay as it is not trusted.
    fn publish(&mut self, all: &BTreeMap<Self::Key, Self::Kept>, held: &BTreeSet<Self::Key>);
}

/// An object as it is read.
pub(super) trait Raw {
    /// Not of those in a list.
    fn kind(&self) -> Option<&str>;
    /// Which version of it this is.
    fn version(&self) -> &str;
}

/// Of every object's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) resource_version: String,
    /// RFC 3339, of UTC: it sorts as the text it is.
    pub(super) creation_timestamp: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<R> {
    pub(super) kind: String,
    pub(super) metadata: PageMeta,
    /// Go writes an empty list as null.
    pub(super) items: Option<Vec<R>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: String,
    #[serde(default)]
    pub(super) r#continue: Option<String>,
}
