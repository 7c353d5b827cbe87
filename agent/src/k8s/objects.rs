//! What of the API's objects is read and kept, and who makes what of all of them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::view::Topic;

/// An object to kube, with what is used of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object<U> {
    /// Its names, and its version as long as the watcher needs it.
    meta: ObjectMeta,
    pub(super) used: U,
}

/// What is used of an object; differs exactly when something that is used does.
pub(super) trait Used: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Whose kind and path it has.
    type Of: Resource<DynamicType = ()>;
    /// As they are read; everything else is skipped unread.
    type Spec: DeserializeOwned + Default;
    type Status: DeserializeOwned + Default;

    fn of(meta: &Meta, spec: Self::Spec, status: Self::Status) -> Self;
}

/// Who follows the objects of one kind.
pub(super) trait Audience {
    type Used: Used;

    const TOPIC: Topic;

    /// Which objects are asked for, by their fields; all of them without.
    fn fields(&self) -> Option<String> {
        None
    }

    /// Whether a list may take away what it does not have. A server that was restored from nothing has none of
    /// what still runs.
    fn trusts(&self, listed: &Names<Self::Used>) -> bool;

    /// Something has changed. `held` are those that the newest list had not, and that stay as it is not trusted.
    fn publish(&mut self, all: &Store<Object<Self::Used>>, held: &Names<Self::Used>);
}

/// Names of objects of one kind.
pub(super) type Names<U> = HashSet<ObjectRef<Object<U>>>;

/// Of every object's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    resource_version: Option<String>,
    /// RFC 3339, of UTC: it sorts as the text it is.
    pub(super) creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) annotations: Option<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "kubernetes.io/ingress-bandwidth")]
    pub(super) ingress: Option<String>,
    #[serde(rename = "kubernetes.io/egress-bandwidth")]
    pub(super) egress: Option<String>,
}

#[derive(Deserialize)]
struct Raw<S, T> {
    /// Not of those in a list.
    kind: Option<String>,
    metadata: Meta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
}

impl<U> Object<U> {
    pub(super) fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.meta.namespace.as_deref().unwrap_or_default()
    }
}

impl<'de, U: Used> Deserialize<'de> for Object<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { kind, metadata, spec, status } = Raw::deserialize(deserializer)?;
        let expected = U::Of::kind(&());
        if let Some(found) = kind.filter(|kind| *kind != expected) {
            return Err(D::Error::custom(format!("{found:?} where {expected} was asked for")));
        }
        let used = U::of(&metadata, spec, status);
        let Meta { name, namespace, resource_version, .. } = metadata;
        let namespace = (!namespace.is_empty()).then_some(namespace);
        Ok(Self { meta: ObjectMeta { name: Some(name), namespace, resource_version, ..ObjectMeta::default() }, used })
    }
}

impl<U: Used> Resource for Object<U> {
    type DynamicType = ();
    type Scope = <U::Of as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        U::Of::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        U::Of::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        U::Of::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        U::Of::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
