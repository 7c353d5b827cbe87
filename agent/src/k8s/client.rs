//! The way to the API server: TLS, the account, and answers in pieces.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::core::Status;
use tokio::time::timeout;

use crate::config::KubernetesConfig;

use super::K8sError;

/// How long an answer, or its next piece, may take. A busy server needs ten seconds.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
/// A server that vanished without a word is found out after 20 + 3 * 5 s: tcp(7).
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// Connections are few, and listing leaves one behind.
const IDLE: Duration = Duration::from_secs(30);
/// Of what a refusal says, bytes.
const MAX_REFUSAL: usize = 64 * 1024;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weft-agent/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The API server, and who asks it.
pub(super) struct ApiServer {
    config: KubernetesConfig,
    trusting: RefCell<Option<Trusting>>,
}

/// A client, and the CA file it was made from.
struct Trusting {
    ca: Vec<u8>,
    send: Rc<dyn Fn(Request<Full<Bytes>>) -> ResponseFuture>,
}

impl ApiServer {
    pub(super) fn new(config: KubernetesConfig) -> Self {
        Self { config, trusting: RefCell::default() }
    }

    /// Where it is.
    pub(super) fn uri(&self) -> &Uri {
        &self.config.api_server
    }

    /// Asks; the answer is one of success, its body still to come.
    ///
    /// Token and CA are read anew each time, so a rotated one is used at once; a file of two kilobytes in memory
    /// costs less than to know when it changes.
    pub(super) async fn ask(&self, request: Request<Vec<u8>>) -> Result<Response<Incoming>, K8sError> {
        let (mut parts, body) = request.into_parts();
        let base = self.config.api_server.to_string();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{}{path}", base.trim_end_matches('/')).parse().map_err(hyper::http::Error::from)?;
        parts.headers.insert(USER_AGENT, AGENT);
        parts.headers.insert(ACCEPT, JSON);
        if let Some(token) = self.token()? {
            parts.headers.insert(AUTHORIZATION, token);
        }
        let send = self.client()?;
        let answer = timeout(ANSWER, send(Request::from_parts(parts, Full::from(body)))).await;
        let response = answer.map_err(|_| silent(ANSWER))?.map_err(K8sError::Unreachable)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Asks, and reads the answer whole into the buffer: of at most so many bytes.
    pub(super) async fn read(
        &self,
        request: Request<Vec<u8>>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), K8sError> {
        collect(self.ask(request).await?.into_body(), into, most).await
    }

    /// Changes an object, as its path says.
    pub(super) async fn patch(&self, path: &str, how: Patch, body: &serde_json::Value) -> Result<(), K8sError> {
        let request = Request::patch(format!("{path}?fieldManager=weft"));
        let request = request.header(CONTENT_TYPE, how.media_type()).body(body.to_string().into_bytes())?;
        self.ask(request).await.map(drop)
    }

    fn encrypted(&self) -> bool {
        self.config.api_server.scheme_str() == Some("https")
    }

    fn account(&self, name: &str) -> Result<(PathBuf, Vec<u8>), K8sError> {
        let path = self.config.service_account.join(name);
        match fs::read(&path) {
            Ok(content) => Ok((path, content)),
            Err(source) => Err(K8sError::Account { path, source }),
        }
    }

    /// A token never goes where anyone may read it.
    fn token(&self) -> Result<Option<HeaderValue>, K8sError> {
        if !self.encrypted() {
            return Ok(None);
        }
        let (path, content) = self.account("token")?;
        let token = content.trim_ascii();
        let header = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        match header {
            Ok(mut header) if !token.is_empty() => {
                header.set_sensitive(true);
                Ok(Some(header))
            }
            _ => Err(K8sError::Token { path }),
        }
    }

    fn client(&self) -> Result<Rc<dyn Fn(Request<Full<Bytes>>) -> ResponseFuture>, K8sError> {
        let (path, ca) = if self.encrypted() { self.account("ca.crt")? } else { (PathBuf::new(), Vec::new()) };
        let mut trusting = self.trusting.borrow_mut();
        if let Some(trusting) = trusting.as_ref().filter(|trusting| trusting.ca == ca) {
            return Ok(Rc::clone(&trusting.send));
        }
        // Nothing of the environment: no proxy, no other cluster.
        let mut config = kube::Config::new(self.config.api_server.clone());
        // The file alone is trusted, not what else the machine trusts.
        config.root_cert = Some(Vec::new());
        config.root_cert_file = self.encrypted().then(|| path.clone());
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let tls = config.rustls_https_connector_with_connector(tcp);
        let tls = tls.map_err(|source| K8sError::Trust { path, source: source.into() })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build::<_, Full<Bytes>>(tls);
        let send: Rc<dyn Fn(Request<Full<Bytes>>) -> ResponseFuture> = Rc::new(move |request| client.request(request));
        *trusting = Some(Trusting { ca, send: Rc::clone(&send) });
        Ok(send)
    }
}

/// How a patch is to be understood.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patch {
    /// RFC 6902.
    Json,
    /// Kubernetes' own: lists of named things are merged by their names.
    Strategic,
}

impl Patch {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

pub(super) const fn silent(waited: Duration) -> K8sError {
    K8sError::Silent { seconds: waited.as_secs() }
}

async fn collect(mut body: Incoming, into: &mut Vec<u8>, most: usize) -> Result<(), K8sError> {
    into.clear();
    while let Some(frame) = timeout(ANSWER, body.frame()).await.map_err(|_| silent(ANSWER))? {
        let Ok(data) = frame.map_err(K8sError::Broken)?.into_data() else { continue };
        if into.len() + data.len() > most {
            return Err(K8sError::TooLong { most });
        }
        into.extend_from_slice(&data);
    }
    Ok(())
}

/// What the server says of its refusal, in one line.
async fn refusal(response: Response<Incoming>) -> K8sError {
    let code = response.status();
    let mut body = Vec::new();
    let said = collect(response.into_body(), &mut body, MAX_REFUSAL).await;
    let status = said.ok().and_then(|()| serde_json::from_slice::<Status>(&body).ok());
    let message = status.map(|status| status.message).filter(|message| !message.is_empty());
    let message = message.unwrap_or_else(|| code.canonical_reason().unwrap_or("no reason given").to_owned());
    K8sError::status(code.as_u16(), message.lines().collect::<Vec<_>>().join(" "))
}
