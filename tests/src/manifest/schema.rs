//! Whether Kubernetes' own types know every key of an object.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::differences;

/// Fails at every key that the object's type does not have and every value that is not of its kind.
pub fn check(object: &Value) -> Result<()> {
    let checked = match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("v1"), Some("Namespace")) => round::<Namespace>(object),
        (Some("v1"), Some("ServiceAccount")) => round::<ServiceAccount>(object),
        (Some("v1"), Some("ConfigMap")) => round::<ConfigMap>(object),
        (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRole")) => round::<ClusterRole>(object),
        (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRoleBinding")) => round::<ClusterRoleBinding>(object),
        (Some("apps/v1"), Some("DaemonSet")) => round::<DaemonSet>(object),
        (version, kind) => bail!("no type is known for {version:?} {kind:?}: name it here"),
    };
    checked.with_context(|| format!("{} {}", object["kind"], object["metadata"]["name"]))
}

/// A type drops what it does not know: what comes back has to be the same.
fn round<T: Serialize + DeserializeOwned>(object: &Value) -> Result<()> {
    let typed: T = serde_json::from_value(object.clone()).context("is not of its type")?;
    let back = serde_json::to_value(typed).context("cannot be written")?;
    let unknown = differences(std::slice::from_ref(object), &[back]);
    if !unknown.is_empty() {
        bail!("its type does not know {}", unknown.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misspelt_keys_and_wrong_values_are_errors() {
        let map = |key: &str, value: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, key: value });
        check(&map("data", json!({ "x": "1" }))).unwrap();
        let misspelt = check(&map("dat", json!({ "x": "1" }))).unwrap_err();
        assert!(format!("{misspelt:#}").contains("a.dat"), "{misspelt:#}");
        assert!(check(&map("data", json!({ "x": 1 }))).is_err());
        assert!(check(&json!({ "apiVersion": "v2", "kind": "ConfigMap" })).is_err());
    }
}
