//! The way to the API server: kube's client, which trusts and shows what the service account's files hold now.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use hyper::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, Client, ConfigExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tower::{Layer, service_fn};
use tower_http::timeout::TimeoutBody;

use crate::config::KubernetesConfig;

use super::K8sError;
use super::error::QUIET;

/// How long an answer may take to begin. A busy server needs ten seconds.
const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
/// A server that vanished without a word is found out after 20 + 3 * 5 s: tcp(7).
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// A watch that stood that long was not refused in disguise.
pub(super) const STOOD: Duration = Duration::from_secs(5);
/// Waits of 50 to 100 ms at first and of 5 to 10 s in the end: thousands of agents that lost one server do not come back
/// to it at once.
pub(super) const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times()
    .with_jitter();
/// The longest wait after a watch that was granted.
const BRIEF: Duration = Duration::from_secs(1);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weft-agent/", env!("CARGO_PKG_VERSION")));

/// The API server, and who asks it.
pub(super) struct ApiServer {
    config: KubernetesConfig,
    trusting: Mutex<Option<Trusting>>,
}

/// A client, and the CA file it was made from.
struct Trusting {
    ca: Vec<u8>,
    client: Client,
}

impl ApiServer {
    pub(super) fn new(config: KubernetesConfig) -> Arc<Self> {
        Arc::new(Self { config, trusting: Mutex::default() })
    }

    /// A client that follows the account's files.
    pub(super) fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let send = move |request| {
            let server = Arc::clone(&server);
            async move { server.send(request).await }
        };
        Client::new(service_fn(send), "default")
    }

    /// The same for a watcher: attempts are spaced, and each watch that the server has granted is told.
    ///
    /// The watcher asks again at once when a watch ends, were it empty, and begins each list with an event, from which
    /// its own backoff takes heart. So the pauses are here.
    pub(super) fn watching(self: &Arc<Self>, granted: Arc<Notify>) -> Client {
        let server = Arc::clone(self);
        let (mut lists, mut watches) = (Attempts::default(), Attempts::default());
        let stands = Arc::new(AtomicBool::new(false));
        let send = move |request: Request<Body>| {
            let has = |parameter| request.uri().query().is_some_and(|query| query.contains(parameter));
            let watch = has("watch=true");
            let at = match (watch, has("continue=")) {
                // One that was granted, and broke soon, costs the server little.
                (true, _) if stands.swap(false, Ordering::Relaxed) => watches.next(Instant::now(), BRIEF),
                (true, _) => watches.next(Instant::now(), Duration::MAX),
                (false, false) => lists.next(Instant::now(), Duration::MAX),
                (false, true) => Instant::now(),
            };
            let (server, granted, stands) = (Arc::clone(&server), Arc::clone(&granted), Arc::clone(&stands));
            async move {
                sleep_until(at).await;
                let response = server.send(request).await?;
                if watch && response.status().is_success() {
                    stands.store(true, Ordering::Relaxed);
                    granted.notify_one();
                }
                Ok::<_, K8sError>(response)
            }
        };
        Client::new(service_fn(send), "default")
    }

    /// Token and CA are read anew each time, so a rotated one is used at once; requests are few, and to read two small
    /// files in memory costs less than to know when they change.
    async fn send(&self, mut request: Request<Body>) -> Result<Response<TimeoutBody<Body>>, K8sError> {
        request.headers_mut().insert(USER_AGENT, AGENT);
        if let Some(token) = self.token()? {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let answer = timeout(ANSWER, self.trusting()?.send(request)).await;
        let response = answer.map_err(|_| K8sError::Silent { seconds: ANSWER.as_secs() })??;
        Ok(response.map(|body| TimeoutBody::new(QUIET, body)))
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

    fn trusting(&self) -> Result<Client, K8sError> {
        let (path, ca) = if self.encrypted() { self.account("ca.crt")? } else { (PathBuf::new(), Vec::new()) };
        let mut trusting = self.trusting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trusting) = trusting.as_ref().filter(|trusting| trusting.ca == ca) {
            return Ok(trusting.client.clone());
        }
        // Nothing of the environment: no proxy, no other cluster.
        let mut config = kube::Config::new(self.config.api_server.clone());
        // The file alone is trusted, not what else the machine trusts.
        config.root_cert = Some(Vec::new());
        config.root_cert_file = self.encrypted().then(|| path.clone());
        // As kube makes its own, which does not look after connections.
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let tls = config.rustls_https_connector_with_connector(tcp);
        let tls = tls.map_err(|source| K8sError::Trust { path, source: source.into() })?;
        let http = legacy::Client::builder(TokioExecutor::new()).build(tls);
        let client = Client::new(config.base_uri_layer().layer(http), "default");
        *trusting = Some(Trusting { ca, client: client.clone() });
        Ok(client)
    }
}

/// Attempts at one thing.
#[derive(Default)]
struct Attempts {
    last: Option<Instant>,
    backoff: Option<ExponentialBackoff>,
}

impl Attempts {
    /// When the next may begin: at once after one that lasted, and after so much at most.
    fn next(&mut self, now: Instant, most: Duration) -> Instant {
        let at = if self.last.is_some_and(|last| now < last + STOOD) {
            let wait = self.backoff.get_or_insert_with(|| RETRY.build()).next();
            now + wait.unwrap_or_default().min(most)
        } else {
            self.backoff = None;
            now
        };
        self.last = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_never_exceed_it() {
        let mut attempts = Attempts::default();
        let mut now = Instant::now();
        assert_eq!(attempts.next(now, Duration::MAX), now);
        for round in 0..40 {
            let most = Duration::from_millis(100 << round.min(7)).min(Duration::from_secs(10));
            let wait = attempts.next(now, Duration::MAX) - now;
            assert!(wait <= most && wait >= most / 2, "{round}: {wait:?}");
            // It fails at once.
            now += wait;
        }
        assert!(attempts.next(now, BRIEF) <= now + BRIEF);
        now += STOOD + BRIEF;
        assert_eq!(attempts.next(now, Duration::MAX), now, "the last one stood");
        assert!(attempts.next(now, Duration::MAX) <= now + Duration::from_millis(100));
    }
}
