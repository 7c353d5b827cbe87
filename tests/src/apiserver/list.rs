//! Lists, page by page.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::object::Object;
use super::query::Query;
use super::refusal::Refusal;
use super::store::{Store, of};

/// A list, or a page of it: all pages are of one version, unless that is gone.
pub(super) fn page(store: &mut Store, query: &Query) -> Result<Bytes, Refusal> {
    // Whoever takes any version gets it from memory, whole.
    let limit = query.number("limit")?.filter(|_| query.param("resourceVersion") != "0");
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let (version, after) = match query.param("continue") {
        "" => (fresh(store, query)?, None),
        token => {
            let (version, after) = place(token)?;
            if version != 0 && store.at(version).is_none() {
                return Err(Refusal::page_gone(format!("0/{}/{}", after.0, after.1)));
            }
            (version, Some(after))
        }
    };
    let all = store.at(version).unwrap_or_else(|| Arc::clone(store.objects()));
    let version = if version == 0 { store.version() } else { version };
    let behind = |object: &Object| {
        let place = (object.key.namespace.as_str(), object.key.name.as_str());
        after.as_ref().is_none_or(|(namespace, name)| place > (namespace.as_str(), name.as_str()))
    };
    let mut found = of(&all, query.kind, &query.namespace)
        .filter(|object| (query.name.is_empty() || object.key.name == query.name) && query.selector.has(object))
        .filter(|object| behind(object));
    let items: Vec<&Arc<Object>> = found.by_ref().take(limit).collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    let rest = found.count();
    if let Some(last) = items.last().filter(|_| rest > 0) {
        store.keep(version, &all);
        metadata["continue"] = format!("{version}/{}/{}", last.key.namespace, last.key.name).into();
        if query.selector.is_empty() {
            metadata["remainingItemCount"] = rest.into();
        }
    }
    Ok(text(query, &metadata, &items))
}

/// The version that a list without a place to go on from is of.
fn fresh(store: &Store, query: &Query) -> Result<u64, Refusal> {
    match query.number("resourceVersion")? {
        Some(asked) if asked > store.version() => Err(Refusal::too_large(asked, store.version())),
        _ => Ok(store.version()),
    }
}

fn place(token: &str) -> Result<(u64, (String, String)), Refusal> {
    let mut parts = token.splitn(3, '/');
    let mut part = || parts.next().map(str::to_owned);
    let version = part().and_then(|version| version.parse().ok());
    version.zip(part().zip(part())).ok_or_else(|| Refusal::bad_request("continue key is not valid"))
}

fn text(query: &Query, metadata: &Value, items: &[&Arc<Object>]) -> Bytes {
    let (kind, version) = (query.kind.kind, query.kind.api_version());
    let mut text = BytesMut::new();
    text.put(format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{metadata},"items":["#).as_bytes());
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.put_u8(b',');
        }
        text.put(item.item().clone());
    }
    text.put(&b"]}\n"[..]);
    text.freeze()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::store::pod;
    use super::*;

    fn ask(store: &mut Store, query: &str) -> Result<(Vec<String>, String), Refusal> {
        let query = Query::parse(&Method::GET, "/api/v1/pods", query).unwrap();
        let list: Value = serde_json::from_slice(&page(store, &query)?).unwrap();
        let names =
            list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().into());
        Ok((names.collect(), list["metadata"]["continue"].as_str().unwrap_or_default().into()))
    }

    fn filled() -> Store {
        let mut store = Store::default();
        for name in ["a", "b", "c"] {
            let (key, json) = pod(name);
            store.put(key, json);
        }
        store
    }

    #[test]
    fn pages_are_of_one_version() {
        let mut store = filled();
        let (first, next) = ask(&mut store, "limit=2").unwrap();
        store.remove(&pod("c").0).unwrap();
        let (second, end) = ask(&mut store, &format!("limit=2&continue={next}")).unwrap();
        assert_eq!((first.concat().as_str(), second.concat().as_str(), end.as_str()), ("ab", "c", ""));
        assert_eq!(ask(&mut store, "limit=2&resourceVersion=0").unwrap().0.concat(), "ab");
    }

    #[test]
    fn a_page_of_a_version_that_is_gone_is_refused_with_a_way_on() {
        let mut store = filled();
        let (_, next) = ask(&mut store, "limit=2").unwrap();
        store.forget();
        let refusal = ask(&mut store, &format!("limit=2&continue={next}")).unwrap_err().json();
        assert_eq!(refusal["code"], 410);
        let next = refusal["metadata"]["continue"].as_str().unwrap();
        assert_eq!(ask(&mut store, &format!("limit=2&continue={next}")).unwrap().0.concat(), "c");
    }

    #[test]
    fn a_version_to_come_is_too_large() {
        assert_eq!(ask(&mut filled(), "resourceVersion=9").unwrap_err().json()["code"], 504);
    }
}
