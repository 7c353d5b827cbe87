//! What a request asks for: by its method, path and parameters.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use percent_encoding::percent_decode_str;

use super::object::{KINDS, Key, Kind};
use super::refusal::Refusal;
use super::selector::Selector;

/// Who asked for what, as roles name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// API group; empty for the first one.
    pub group: &'static str,
    /// With its subresource: `nodes/status`.
    pub resource: String,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) kind: &'static Kind,
    pub(super) namespace: String,
    /// Empty for all.
    pub(super) name: String,
    /// Whether it is about `status` alone.
    pub(super) status: bool,
    pub(super) verb: &'static str,
    pub(super) selector: Selector,
    params: HashMap<String, String>,
}

impl Query {
    /// From a method and what is behind it.
    pub(super) fn parse(method: &Method, path: &str, query: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::not_found(format!("the requested resource {path:?}"));
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(unknown()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, status) = match rest {
            [plural] => (*plural, "", false),
            [plural, name] => (*plural, *name, false),
            [plural, name, "status"] => (*plural, *name, true),
            _ => return Err(unknown()),
        };
        let same = |kind: &&&Kind| kind.group == group && kind.version == version && kind.plural == plural;
        let kind = KINDS.iter().find(same).filter(|kind| kind.status || !status).ok_or_else(unknown)?;
        let params = parameters(query);
        let param = |name: &str| params.get(name).map_or("", String::as_str);
        let selector = Selector::parse(param("fieldSelector"), param("labelSelector"))?;
        let verb = match *method {
            Method::GET if matches!(param("watch"), "true" | "1") => "watch",
            Method::GET if name.is_empty() => "list",
            Method::GET => "get",
            Method::POST if name.is_empty() => "create",
            Method::PUT if !name.is_empty() => "update",
            Method::PATCH if !name.is_empty() => "patch",
            Method::DELETE if !name.is_empty() => "delete",
            _ => return Err(Refusal::method(method)),
        };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(Self { kind, namespace, name, status, verb, selector, params })
    }

    /// The object that it is about.
    pub(super) fn key(&self) -> Key {
        Key { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// As roles name it.
    pub(super) fn ask(&self) -> Ask {
        let resource = if self.status { format!("{}/status", self.kind.plural) } else { self.kind.plural.to_owned() };
        Ask { verb: self.verb, group: self.kind.group, resource }
    }

    /// A parameter; empty if it is not there.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// A number, if it is there and not 0.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.param(name) {
            "" | "0" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Refusal::bad_request(format!("{name}: invalid value {text:?}"))),
        }
    }

    /// How long a stream may last.
    pub(super) fn timeout(&self) -> Result<Duration, Refusal> {
        // What a real server takes is between this and twice as much.
        Ok(Duration::from_secs(self.number("timeoutSeconds")?.unwrap_or(1800)))
    }
}

fn parameters(query: &str) -> HashMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, path: &str, query: &str) -> String {
        let query = Query::parse(method, path, query).unwrap();
        format!("{} {} {}/{}", query.verb, query.ask().resource, query.namespace, query.name)
    }

    #[test]
    fn paths_are_verbs_and_resources() {
        assert_eq!(ask(&Method::GET, "/api/v1/nodes", "watch=true"), "watch nodes /");
        assert_eq!(ask(&Method::GET, "/api/v1/pods", "fieldSelector=spec.nodeName%3Dn1"), "list pods /");
        assert_eq!(ask(&Method::PATCH, "/api/v1/nodes/n1/status", ""), "patch nodes/status /n1");
        assert_eq!(ask(&Method::GET, "/api/v1/namespaces/shop/pods/web", ""), "get pods shop/web");
        assert_eq!(ask(&Method::GET, "/api/v1/namespaces/shop", ""), "get namespaces /shop");
        assert_eq!(ask(&Method::GET, "/apis/discovery.k8s.io/v1/endpointslices", ""), "list endpointslices /");
        assert!(Query::parse(&Method::GET, "/api/v1/dragons", "").is_err());
        assert!(Query::parse(&Method::POST, "/api/v1/nodes/n1", "").is_err());
    }
}
