//! An API server that says what a test tells it to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) token: String,
    pub(super) media_type: String,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn watches(&self) -> bool {
        self.path.contains("watch=true")
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) after: Duration,
    pub(super) text: String,
    /// What comes later; it ends with its sender, or breaks off.
    pub(super) more: Option<mpsc::UnboundedReceiver<Piece>>,
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Break,
}

impl Answer {
    pub(super) fn of(status: u16, text: impl Into<String>) -> Self {
        Self { status, after: Duration::ZERO, text: text.into(), more: None }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::of(200, value.to_string())
    }

    pub(super) fn refusal(status: u16, message: &str) -> Self {
        let reason = if status == 404 { "NotFound" } else { "Other" };
        let value =
            json!({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": status});
        Self::of(status, value.to_string())
    }

    /// A watch that goes on as long as the sender lives.
    pub(super) fn stream(events: &[Value]) -> (Self, mpsc::UnboundedSender<Piece>) {
        let (sender, more) = mpsc::unbounded_channel();
        (Self { more: Some(more), ..Self::events(events) }, sender)
    }

    /// A watch that ends.
    pub(super) fn events(events: &[Value]) -> Self {
        let lines: Vec<_> = events.iter().map(|event| format!("{event}\n")).collect();
        Self::of(200, lines.concat())
    }

    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// What is answered to whatever is asked below a path, in turn; the last answer to a list again and again.
type Script = Rc<RefCell<dyn FnMut(&Asked) -> Option<Answer>>>;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    asked: Rc<RefCell<Vec<Asked>>>,
    scripts: Rc<RefCell<Vec<(&'static str, Script)>>>,
    tls: Rc<RefCell<Option<TlsAcceptor>>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, asked: Rc::default(), scripts: Rc::default(), tls: Rc::default() };
        let serving = server.clone();
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (server, tls) = (serving.clone(), serving.tls.borrow().clone());
                spawn_local(async move {
                    match tls {
                        None => server.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                server.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        server.on("/api/v1/services", standing("ServiceList", &[service("kubernetes", "10.96.0.1")]));
        server.on("/api/v1/pods", standing("PodList", &[]));
        server
    }

    /// Connections that come from now on are encrypted with that.
    pub(super) fn encrypt(&self, config: rustls::ServerConfig) {
        *self.tls.borrow_mut() = Some(TlsAcceptor::from(Arc::new(config)));
    }

    /// Says what is answered below a path; nothing at all where it has no answer.
    pub(super) fn on(&self, path: &'static str, script: impl FnMut(&Asked) -> Option<Answer> + 'static) {
        self.scripts.borrow_mut().retain(|(known, _)| *known != path);
        self.scripts.borrow_mut().push((path, Rc::new(RefCell::new(script))));
    }

    /// The same, in turn.
    pub(super) fn turns(&self, path: &'static str, answers: impl IntoIterator<Item = Answer>) {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        self.on(path, move |_| answers.pop_front());
    }

    pub(super) fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.borrow().iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let service = service_fn(|request| self.answer(request));
        let http = hyper::server::conn::http1::Builder::new();
        // The client goes away when a test ends.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<
        Response<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + use<>>>,
        Infallible,
    > {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let mut asked = Asked {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            token: header(AUTHORIZATION).unwrap_or_default(),
            media_type: header(hyper::header::CONTENT_TYPE).unwrap_or_default(),
            body: Value::Null,
        };
        let body = request.into_body().collect().await.unwrap().to_bytes();
        asked.body = serde_json::from_slice(&body).unwrap_or_default();
        self.asked.borrow_mut().push(asked.clone());
        let script = self.scripts.borrow().iter().find(|(path, _)| asked.path.starts_with(path)).cloned();
        let answer = script.and_then(|(_, script)| (script.borrow_mut())(&asked));
        let Some(Answer { status, after, text, more }) = answer else { std::future::pending().await };
        sleep(after).await;
        let first = stream::once(async move { Ok(Frame::data(Bytes::from(text))) });
        let later = stream::unfold(more, |more| async move {
            let mut more = more?;
            match more.recv().await? {
                Piece::Text(text) => Some((Ok(Frame::data(Bytes::from(text))), Some(more))),
                Piece::Break => Some((Err(std::io::Error::other("broken")), None)),
            }
        });
        Ok(Response::builder().status(status).body(StreamBody::new(first.chain(later).boxed_local())).unwrap())
    }
}

/// One list, and then a watch that says nothing.
pub(super) fn standing(kind: &'static str, items: &[Value]) -> impl FnMut(&Asked) -> Option<Answer> + use<> {
    let items = items.to_vec();
    let mut senders = Vec::new();
    move |asked| {
        if !asked.watches() {
            return Some(Answer::json(&list(kind, "10", &items)));
        }
        let (answer, sender) = Answer::stream(&[]);
        senders.push(sender);
        Some(answer)
    }
}

pub(super) fn list(kind: &str, version: &str, items: &[Value]) -> Value {
    json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items})
}

pub(super) fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

/// The node `n<number>`, with that version of its object.
pub(super) fn node(number: u8, version: u32) -> Value {
    json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": format!("n{number}"),
            "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {"podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": format!("n{number}")},
                {"type": "InternalIP", "address": format!("192.0.2.{number}")},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": version}],
        },
    })
}

pub(super) fn service(name: &str, address: &str) -> Value {
    json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": "5"},
        "spec": {"clusterIP": address},
    })
}
