//! Watches: streams of events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::fault::{Bad, PAGE};
use super::object::Object;
use super::query::Query;
use super::refusal::Refusal;
use super::serve::Body;
use super::state::Shared;
use super::store::{Event, of};

/// A bookmark comes this long before the end of a stream.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// Begins a stream.
pub(super) fn open(shared: Arc<Shared>, query: Query) -> Result<Response<Body>, Refusal> {
    let end = Instant::now() + query.timeout()?;
    let since = query.number("resourceVersion")?;
    let initial = query.is_set("sendInitialEvents");
    if initial && query.param("resourceVersionMatch") != "NotOlderThan" {
        return Err(Refusal::invalid("resourceVersionMatch: Forbidden: sendInitialEvents requires NotOlderThan"));
    }
    // Room for a few events: the rest waits until the client has read.
    let (sender, mut lines) = mpsc::channel(16);
    let body = StreamBody::new(futures::stream::poll_fn(move |context| lines.poll_recv(context)));
    tokio::spawn(async move {
        let mut stream = Stream { shared, query, sender, since: since.unwrap_or_default(), end };
        stream.shared.state().streams += 1;
        // The client has left, or time is over.
        let _ = stream.run(initial || since.is_none()).await;
        stream.shared.state().streams -= 1;
    });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

struct Stream {
    shared: Arc<Shared>,
    query: Query,
    sender: mpsc::Sender<io::Result<Frame<Bytes>>>,
    /// Everything up to this version has been told.
    since: u64,
    end: Instant,
}

/// Nobody listens any more.
struct Left;

impl Stream {
    async fn run(&mut self, initial: bool) -> Result<(), Left> {
        let mut signals = self.shared.signals.subscribe();
        let born = signals.borrow().streams;
        if initial {
            self.tell_all().await?;
        }
        let mut bookmark = Instant::now() + self.shared.state().bookmark;
        let mut last = self.end.checked_sub(LAST_BOOKMARK);
        loop {
            let faults = self.shared.state().faults.clone();
            let meant = faults.only.is_none_or(|only| only == self.query.kind.plural);
            let silent = faults.silent && meant;
            if meant && faults.bad == Some(Bad::Garbage) {
                return self.send(Bytes::from(PAGE)).await;
            }
            if signals.borrow_and_update().streams > born && !silent {
                let (asked, oldest) = (self.since, self.shared.state().store.version());
                return self.send(event("ERROR", Refusal::gone(asked, oldest).json().to_string().as_bytes())).await;
            }
            if !silent {
                self.tell_news().await?;
            }
            let next = bookmark.min(last.unwrap_or(bookmark));
            tokio::select! {
                () = self.sender.closed() => return Err(Left),
                changed = signals.changed() => changed.map_err(|_| Left)?,
                () = sleep_until(next), if !silent && self.query.is_set("allowWatchBookmarks") => {
                    bookmark = Instant::now() + self.shared.state().bookmark;
                    last = last.filter(|last| *last > next);
                    self.send(self.bookmark(false)).await?;
                }
                () = sleep_until(self.end), if !silent => return Ok(()),
            }
        }
    }

    /// Everything that there is, as if it had just come.
    async fn tell_all(&mut self) -> Result<(), Left> {
        let (all, version) = {
            let state = self.shared.state();
            (Arc::clone(state.store.objects()), state.store.version())
        };
        for object in of(&all, self.query.kind, &self.query.namespace).filter(|object| self.is_meant(object)) {
            self.send(event("ADDED", &object.whole())).await?;
        }
        self.since = version;
        if self.query.is_set("sendInitialEvents") {
            self.send(self.bookmark(true)).await?;
        }
        Ok(())
    }

    /// What has happened since.
    async fn tell_news(&mut self) -> Result<(), Left> {
        let (news, version) = {
            let state = self.shared.state();
            (state.store.since(self.query.kind, self.since), state.store.version())
        };
        match news {
            Ok(news) => {
                for one in news {
                    if let Some(line) = self.line(&one) {
                        self.send(line).await?;
                    }
                }
                // A version from before the server lost its memory may be larger than any.
                self.since = self.since.max(version);
                Ok(())
            }
            Err(gone) => {
                self.send(event("ERROR", gone.json().to_string().as_bytes())).await?;
                Err(Left)
            }
        }
    }

    /// What an event is to someone who sees only what is selected.
    fn line(&self, one: &Event) -> Option<Bytes> {
        let before = one.old.as_ref().is_some_and(|old| self.is_meant(old));
        let now = !one.deleted && self.is_meant(&one.new);
        let word = match (before, now) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(event(word, &one.new.whole()))
    }

    fn is_meant(&self, object: &Object) -> bool {
        let Query { namespace, name, selector, .. } = &self.query;
        (namespace.is_empty() || *namespace == object.key.namespace)
            && (name.is_empty() || *name == object.key.name)
            && selector.has(object)
    }

    fn bookmark(&self, initial: bool) -> Bytes {
        let kind = self.query.kind;
        let mut object = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(), "spec": {}, "status": {},
            "metadata": { "resourceVersion": self.since.to_string(), "creationTimestamp": null },
        });
        if initial {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        event("BOOKMARK", object.to_string().as_bytes())
    }

    async fn send(&self, line: Bytes) -> Result<(), Left> {
        self.sender.send(Ok(Frame::data(line))).await.map_err(|_| Left)
    }
}

fn event(word: &str, object: &[u8]) -> Bytes {
    let head = format!(r#"{{"type":"{word}","object":"#);
    let mut line = BytesMut::with_capacity(head.len() + object.len() + 2);
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.freeze()
}
