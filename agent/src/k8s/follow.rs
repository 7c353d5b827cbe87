//! Lists objects once and watches them from there; lists again only when that has come to nothing.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::text;

use super::K8sError;
use super::client::{ApiServer, STOOD};
use super::objects::{Audience, Names, Object};
use super::view::View;

/// Objects of a page: of large ones, some megabytes.
const PAGE: u32 = 250;
/// How long the server keeps a watch, seconds.
const WATCH: u32 = 280;
/// Changes come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// When a list that was not trusted is asked for again.
const DISTRUST: Duration = Duration::from_secs(300);

/// Follows the objects for ever. What was known stays through every failure.
pub(super) async fn follow<A: Audience>(server: Arc<ApiServer>, view: Rc<View>, audience: A) {
    let granted = Arc::new(Notify::new());
    let api = Api::all(server.watching(Arc::clone(&granted)));
    let mut config = watcher::Config::default().page_size(PAGE).timeout(WATCH);
    config.field_selector = audience.fields();
    let mut reflector = Reflector::new(audience);
    let mut forgotten = false;
    loop {
        // A new one begins with a list.
        let mut events = pin!(watcher(api.clone(), config.clone()));
        let mut since: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = granted.notified() => {
                    since = Some(Instant::now());
                    view.up(A::TOPIC);
                }
                () = due(reflector.publish_at) => reflector.publish(),
                () = due(reflector.relist_at) => break,
                event = events.next() => {
                    let error = match event {
                        Some(Ok(event)) => {
                            forgotten &= !matches!(event, Event::InitDone);
                            reflector.take(event);
                            continue;
                        }
                        Some(Err(error)) => K8sError::from(error),
                        None => break,
                    };
                    // What was granted and failed at once is not to be told in the other order.
                    if granted.notified().now_or_never().is_some() {
                        since = Some(Instant::now());
                    }
                    match error {
                        // Of no concern to anybody where a list follows.
                        K8sError::Refused { code: K8sError::GONE, ref message } if !forgotten => {
                            log::debug!("{:?}: listing again: {message}", A::TOPIC);
                            forgotten = true;
                            break;
                        }
                        // Servers restart, and what stands between cuts long connections. If more is wrong, the next
                        // attempt tells.
                        K8sError::Broken(_) if since.is_some_and(|since| since.elapsed() >= STOOD) => {
                            log::debug!("{:?}: watching again: {}", A::TOPIC, text::chain(&error));
                        }
                        _ => view.down(A::TOPIC, text::chain(&error)),
                    }
                    // What an event said that could not be read is in the list.
                    if matches!(error, K8sError::Garbage(_)) {
                        break;
                    }
                }
            }
        }
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// All objects of one kind, for whoever follows them.
struct Reflector<A: Audience> {
    audience: A,
    store: Store<Object<A::Used>>,
    writer: Writer<Object<A::Used>>,
    /// By the list that is under way.
    listed: Names<A::Used>,
    held: Names<A::Used>,
    publish_at: Option<Instant>,
    relist_at: Option<Instant>,
}

impl<A: Audience> Reflector<A> {
    fn new(audience: A) -> Self {
        let writer = Writer::default();
        let (listed, held) = (Names::default(), Names::default());
        Self { audience, store: writer.as_reader(), writer, listed, held, publish_at: None, relist_at: None }
    }

    fn take(&mut self, mut event: Event<Object<A::Used>>) {
        match &mut event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                forget_version(object);
                self.listed.insert(ObjectRef::from_obj(object));
            }
            Event::InitDone => {
                self.hold();
                self.publish_at = Some(Instant::now());
            }
            Event::Apply(object) => {
                forget_version(object);
                let name = ObjectRef::from_obj(object);
                if !self.held.remove(&name) && self.store.get(&name).is_some_and(|known| *known == *object) {
                    return;
                }
                self.publish_soon();
            }
            Event::Delete(object) => {
                self.held.remove(&ObjectRef::from_obj(object));
                self.publish_soon();
            }
        }
        self.writer.apply_watcher_event(&event);
    }

    /// Adds to a list that is not trusted what it has not and was known.
    fn hold(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        self.held.clear();
        if !self.audience.trusts(&listed) {
            for known in self.store.state() {
                let name = ObjectRef::from_obj(&*known);
                if !listed.contains(&name) {
                    self.writer.apply_watcher_event(&Event::InitApply((*known).clone()));
                    self.held.insert(name);
                }
            }
        }
        self.relist_at = (!self.held.is_empty()).then(|| Instant::now() + DISTRUST);
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| Instant::now() + DEBOUNCE);
    }

    fn publish(&mut self) {
        self.publish_at = None;
        self.audience.publish(&self.store, &self.held);
    }
}

/// It is another one with each heartbeat, and only the watcher needs it.
fn forget_version(object: &mut impl Resource) {
    object.meta_mut().resource_version = None;
}
