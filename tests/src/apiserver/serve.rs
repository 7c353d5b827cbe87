//! Answers to requests.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::fault::{Bad, Faults, PAGE};
use super::list;
use super::patch::Change;
use super::query::Query;
use super::refusal::Refusal;
use super::state::{Shared, State};
use super::stream;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Answers a request, or ends the connection by an error.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let address = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    shared.state().log.push(format!("{} {address}", head.method));
    if matches!(head.uri.path(), "/healthz" | "/livez" | "/readyz") {
        return Ok(plain(StatusCode::OK, "text/plain", Bytes::from("ok")));
    }
    let query = Query::parse(&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
    let faults = shared.state().faults.clone();
    let faults = match (&query, faults.only) {
        (Ok(query), Some(only)) if query.kind.plural != only => Faults::default(),
        _ => faults,
    };
    tokio::time::sleep(faults.delay).await;
    match faults.bad {
        Some(Bad::HangUp) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Bad::Garbage) => return Ok(plain(StatusCode::OK, "text/html", Bytes::from(PAGE))),
        Some(Bad::Unauthorized) => return Ok(refused(&Refusal::unauthorized())),
        Some(Bad::Forbidden) => return Ok(refused(&Refusal::forbidden(head.uri.path()))),
        Some(Bad::Gone) => return Ok(refused(&Refusal::gone(0, shared.state().store.version()))),
        Some(Bad::Busy { seconds }) => return Ok(refused(&Refusal::busy(seconds))),
        Some(Bad::Broken) => return Ok(refused(&Refusal::broken())),
        Some(Bad::Truncated) | None => {}
    }
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let done = admit(&mut shared.state(), header(header::AUTHORIZATION), head.uri.path(), query)
        .and_then(|query| query.map(|query| body_json(&body).map(|body| (query, body))).transpose());
    let (query, body) = match done {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Ok(json_of(StatusCode::OK, &json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0" })));
        }
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if query.verb == "watch" {
        return Ok(stream::open(shared, query).unwrap_or_else(|refusal| refused(&refusal)));
    }
    let media = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let agent = header(header::USER_AGENT).split('/').next().unwrap_or_default();
    let change = Change { query: &query, media, agent, body };
    let (before, done, after) = {
        let state = &mut *shared.state();
        (state.store.version(), act(state, &change), state.store.version())
    };
    if before != after {
        shared.wake();
    }
    let (code, mut text) = match done {
        Ok(done) => done,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if faults.bad == Some(Bad::Truncated) {
        text.truncate(text.len() / 2);
    }
    Ok(plain(code, "application/json", text))
}

/// Who may ask for what; `None` for the version, which everyone with a token may know.
fn admit(
    state: &mut State,
    authorization: &str,
    path: &str,
    query: Result<Query, Refusal>,
) -> Result<Option<Query>, Refusal> {
    let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
    if !state.tokens.contains(token) {
        return Err(Refusal::unauthorized());
    }
    if path == "/version" {
        return Ok(None);
    }
    let query = query?;
    let ask = query.ask();
    *state.asked.entry(ask.clone()).or_default() += 1;
    if state.granted.as_ref().is_some_and(|granted| !granted.contains(&ask)) {
        return Err(Refusal::forbidden(&format!("{} of {:?} in API group {:?}", ask.verb, ask.resource, ask.group)));
    }
    Ok(Some(query))
}

fn body_json(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body is no JSON: {error}")))
}

fn act(state: &mut State, change: &Change<'_>) -> Result<(StatusCode, Bytes), Refusal> {
    let query = change.query;
    let mut key = query.key();
    let store = &mut state.store;
    match query.verb {
        "list" => Ok((StatusCode::OK, list::page(store, query)?)),
        "get" => Ok((StatusCode::OK, store.get(&key)?.whole())),
        "create" => {
            change.body["metadata"]["name"].as_str().unwrap_or_default().clone_into(&mut key.name);
            Ok((StatusCode::CREATED, store.create(key, change.body.clone())?.whole()))
        }
        "delete" => {
            store.remove(&key)?;
            let done = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
            Ok((StatusCode::OK, done.to_string().into()))
        }
        _ => match store.get(&key) {
            Ok(old) => {
                let new = change.of(&key, &old.json())?;
                Ok((StatusCode::OK, store.put(key, new).whole()))
            }
            Err(_) if change.creates() && !query.status => {
                let new = change.of(&key, &Value::Null)?;
                Ok((StatusCode::CREATED, store.put(key, new).whole()))
            }
            Err(refusal) => Err(refusal),
        },
    }
}

fn json_of(code: StatusCode, json: &Value) -> Response<Body> {
    let mut text = BytesMut::new().writer();
    // Memory takes what is written.
    let _ = serde_json::to_writer(&mut text, json);
    plain(code, "application/json", text.into_inner().freeze())
}

pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = json_of(refusal.code, &refusal.json());
    if let Some(seconds) = refusal.retry {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn plain(code: StatusCode, media: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
