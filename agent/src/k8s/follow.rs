//! Lists objects once and watches them from there; lists again only when the server has forgotten where that was.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::text;

use super::K8sError;
use super::backoff::Backoff;
use super::client::{ApiServer, silent};
use super::lines::Lines;
use super::objects::{Objects, Page, Raw};
use super::view::View;

/// Objects of a page: of large ones, some megabytes.
const PAGE: u32 = 250;
/// More than 250 objects of the largest size that etcd takes (1.5 MiB) never have in truth.
const MAX_PAGE: usize = 128 << 20;
/// How long the server keeps a watch: kube-rs takes up to 295 s, and five minutes of silence are too many.
const WATCH: u32 = 290;
/// Servers send a bookmark about every minute.
const QUIET: Duration = Duration::from_secs(150);
/// A watch that stood that long was not refused in disguise.
const STOOD: Duration = Duration::from_secs(5);
/// Changes come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// When a list that was not trusted is asked for again.
const DISTRUST: Duration = Duration::from_mins(5);

/// Objects of one kind, as the server last told them.
pub(super) struct Follower<O: Objects> {
    api: Rc<ApiServer>,
    view: Rc<View>,
    objects: O,
    all: BTreeMap<O::Key, O::Kept>,
    held: BTreeSet<O::Key>,
    /// Where to go on; `None` to list.
    version: Option<String>,
    /// Whether there was a list.
    listed: bool,
    relist: Option<Instant>,
    publish_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl<O: Objects> Follower<O> {
    pub(super) fn new(api: Rc<ApiServer>, view: Rc<View>, objects: O) -> Self {
        Self {
            api,
            view,
            objects,
            all: BTreeMap::new(),
            held: BTreeSet::new(),
            version: None,
            listed: false,
            relist: None,
            publish_at: None,
            buffer: Vec::new(),
        }
    }

    /// Follows the objects for ever. What was known stays through every failure.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let mut since = None;
            let ended = self.round(&mut since).await;
            self.publish();
            let stood = since.is_some_and(|since: Instant| since.elapsed() >= STOOD);
            if stood {
                backoff.reset();
            }
            match ended {
                Ok(()) => {}
                // Servers restart, and what stands between cuts long connections. If more is wrong, the next
                // attempt tells.
                Err(error @ (K8sError::Broken(_) | K8sError::Truncated)) if stood => {
                    log::debug!("{}: watching again: {}", O::PATH, text::chain(&error));
                }
                // Of no concern to anybody: it is listed again.
                Err(K8sError::Gone { message }) => {
                    log::debug!("{}: listing again: {message}", O::PATH);
                    self.version = None;
                }
                Err(error) => {
                    // The same event would come again.
                    if matches!(error, K8sError::Garbage(_) | K8sError::Kind { .. }) {
                        self.version = None;
                    }
                    self.view.down(O::TOPIC, text::chain(&error));
                }
            }
            sleep(backoff.wait()).await;
        }
    }

    /// Lists if need be, and watches until the stream ends; says when it began to.
    async fn round(&mut self, since: &mut Option<Instant>) -> Result<(), K8sError> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.list().await?,
        };
        let mut parameters = WatchParams::default().timeout(WATCH);
        parameters.field_selector = self.objects.fields();
        let request = Request::new(O::PATH).watch(&parameters, &version)?;
        let response = self.api.ask(request).await?;
        *since = Some(Instant::now());
        self.view.up(O::TOPIC);
        self.watch(response.into_body()).await
    }

    async fn list(&mut self) -> Result<String, K8sError> {
        let mut listed = BTreeMap::new();
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.field_selector = self.objects.fields();
        let version = loop {
            let request = Request::new(O::PATH).list(&parameters)?;
            self.api.read(request, &mut self.buffer, MAX_PAGE).await?;
            let page: Page<O::Raw> = serde_json::from_slice(&self.buffer).map_err(K8sError::Garbage)?;
            expect(O::LIST, &page.kind)?;
            listed.extend(page.items.into_iter().flatten().map(|raw| self.objects.keep(raw)));
            match page.metadata.r#continue.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => break page.metadata.resource_version,
            }
        };
        // Pages are large, events are not.
        self.buffer = Vec::new();
        self.take(listed);
        self.version = Some(version.clone());
        Ok(version)
    }

    fn take(&mut self, mut listed: BTreeMap<O::Key, O::Kept>) {
        let mut held = BTreeSet::new();
        if !self.objects.trusts(&listed) {
            for (key, kept) in std::mem::take(&mut self.all) {
                listed.entry(key).or_insert_with_key(|key| {
                    held.insert(key.clone());
                    kept
                });
            }
        }
        self.relist = (!held.is_empty()).then(|| Instant::now() + DISTRUST);
        let changed = !self.listed || self.all != listed || self.held != held;
        (self.all, self.held, self.listed) = (listed, held, true);
        if changed {
            self.publish_at = Some(Instant::now());
        }
        self.publish();
    }

    fn publish(&mut self) {
        if self.publish_at.take().is_some() {
            self.objects.publish(&self.all, &self.held);
        }
    }

    async fn watch(&mut self, mut body: Incoming) -> Result<(), K8sError> {
        let mut lines = Lines::default();
        loop {
            let due = async |at: Option<Instant>| match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            };
            let frame = tokio::select! {
                biased;
                () = due(self.publish_at) => {
                    self.publish();
                    continue;
                }
                () = due(self.relist) => {
                    self.version = None;
                    return Ok(());
                }
                frame = timeout(QUIET, body.frame()) => frame,
            };
            match frame.map_err(|_| silent(QUIET))? {
                Some(frame) => {
                    let Ok(data) = frame.map_err(K8sError::Broken)?.into_data() else { continue };
                    lines.push(&data)?;
                    while let Some(line) = lines.next() {
                        let event = serde_json::from_slice(line).map_err(K8sError::Garbage)?;
                        self.event(event)?;
                    }
                }
                None if lines.is_empty() => return Ok(()),
                None => return Err(K8sError::Truncated),
            }
        }
    }

    fn event(&mut self, event: WatchEvent<O::Raw>) -> Result<(), K8sError> {
        let (raw, gone) = match event {
            WatchEvent::Added(raw) | WatchEvent::Modified(raw) => (raw, false),
            WatchEvent::Deleted(raw) => (raw, true),
            WatchEvent::Bookmark(bookmark) => {
                self.version = Some(bookmark.metadata.resource_version);
                return Ok(());
            }
            WatchEvent::Error(status) => return Err(K8sError::status(status.code, status.message)),
        };
        expect(O::KIND, raw.kind().unwrap_or(O::KIND))?;
        let version = raw.version().to_owned();
        let (key, kept) = self.objects.keep(raw);
        let was_held = self.held.remove(&key);
        let changed = if gone {
            self.all.remove(&key).is_some()
        } else if self.all.get(&key) == Some(&kept) {
            was_held
        } else {
            self.all.insert(key, kept);
            true
        };
        // Without one it stays at the last that is known: what came since comes again.
        if !version.is_empty() {
            self.version = Some(version);
        }
        if changed && self.publish_at.is_none() {
            self.publish_at = Some(Instant::now() + DEBOUNCE);
        }
        Ok(())
    }
}

fn expect(expected: &'static str, found: &str) -> Result<(), K8sError> {
    if found == expected { Ok(()) } else { Err(K8sError::Kind { expected, found: found.to_owned() }) }
}
