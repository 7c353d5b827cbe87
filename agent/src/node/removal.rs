//! Removing links, many in one request, without waiting for what the kernel does afterwards.
//!
//! A request to delete a link returns some 20 ms after the link is gone: the kernel waits for a grace period before it
//! frees the memory. It tells everybody who listens as soon as the link is unlisted in its namespace (and its peer in
//! the pod's), after well under a millisecond; that is when a caller is answered. Removals that arrive while the
//! threads here wait for the kernel share the next request.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use tokio::sync::{Notify, oneshot};

use super::error::{is, unless_gone};
use super::links::Link;
use super::netlink::{LINKS, Socket};
use super::rcu::{Expedite, Window};
use super::{NodeError, links};

/// Requests that may be under way at once, so that a removal seldom waits for the grace period of another.
const THREADS: usize = 4;

type Answer = Result<(), Arc<io::Error>>;

/// Takes removals.
#[derive(Debug)]
pub(super) struct Removal {
    queue: Sender<u32>,
    waiting: Arc<Waiting>,
    lost: Arc<Notify>,
}

/// Hears of links that go.
struct Listener {
    events: Socket,
    /// Host ends in it were not condemned: whoever removed them is somebody else.
    group: u32,
    waiting: Arc<Waiting>,
    lost: Arc<Notify>,
}

/// Who waits for which link, by its index.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u32, Callers>>);

#[derive(Debug, Default)]
struct Callers {
    answers: Vec<oneshot::Sender<Answer>>,
    /// Open until the last link of the request is unlisted.
    window: Option<Arc<Window>>,
}

impl Removal {
    /// Starts the threads in the caller's network namespace. Links that go are moved to the group above first.
    pub(super) fn start(group: u32, expedite: &Expedite) -> Result<Self, NodeError> {
        let open = |call| move |source| NodeError::Open { call, source };
        let condemned = group | 1;
        let (waiting, lost) = (Arc::new(Waiting::default()), Arc::new(Notify::new()));
        let (queue, removals) = mpsc::channel();
        let removals = Arc::new(Mutex::new(removals));

        let events = Socket::open_events(LINKS).map_err(open("socket"))?;
        let listener = Listener { events, group, waiting: Arc::clone(&waiting), lost: Arc::clone(&lost) };
        thread::Builder::new().name("weft-links".to_owned()).spawn(move || listener.listen()).map_err(open("clone"))?;
        for _ in 0..THREADS {
            let mut socket = Socket::open().map_err(open("socket"))?;
            let (removals, waiting, expedite) = (Arc::clone(&removals), Arc::clone(&waiting), expedite.clone());
            thread::Builder::new()
                .name("weft-removal".to_owned())
                .spawn(move || {
                    while let Some(batch) = gather(&removals) {
                        remove(&mut socket, condemned, &expedite, &waiting, &batch);
                    }
                })
                .map_err(open("clone"))?;
        }
        Ok(Self { queue, waiting, lost })
    }

    /// Removes a link, and returns when nobody can see it any more.
    pub(super) async fn remove(&self, index: u32, name: &str) -> Result<(), NodeError> {
        let (sender, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock();
            let callers = waiting.entry(index).or_default();
            callers.answers.push(sender);
            callers.answers.len() == 1
        };
        if first {
            self.queue.send(index).map_err(|_| NodeError::Stopped)?;
        }
        let answer = answer.await.map_err(|_| NodeError::Stopped)?;
        answer.map_err(|source| NodeError::Remove { name: name.to_owned(), source })
    }

    /// Returns when a host end has gone that nothing here removed, as when a pod's namespace vanishes; at once if one
    /// went since the last call.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Whether the link is being removed.
    pub(super) fn holds(&self, index: u32) -> bool {
        self.waiting.lock().contains_key(&index)
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Callers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, index: u32, answer: &Answer) {
        let callers = self.lock().remove(&index);
        for caller in callers.into_iter().flat_map(|callers| callers.answers) {
            // An error here means that the caller has gone.
            let _ = caller.send(answer.clone());
        }
    }
}

/// The next removal and all that have arrived with it.
fn gather(removals: &Mutex<Receiver<u32>>) -> Option<Vec<u32>> {
    let removals = removals.lock().unwrap_or_else(PoisonError::into_inner);
    let first = removals.recv().ok()?;
    Some([first].into_iter().chain(removals.try_iter()).collect())
}

fn remove(socket: &mut Socket, condemned: u32, expedite: &Expedite, waiting: &Waiting, batch: &[u32]) {
    let window = Arc::new(expedite.window());
    for index in batch {
        if let Some(callers) = waiting.lock().get_mut(index) {
            callers.window = Some(Arc::clone(&window));
        }
    }
    drop(window);

    let requests = batch.iter().map(|index| (links::set_group(*index, condemned), 0));
    let moved = socket.apply_all(requests);
    // ENODEV: another request took them along, or they went by themselves.
    let deleted = unless_gone(socket.apply((links::delete_group(condemned), 0)), Errno::ENODEV).map_err(Arc::new);
    match moved {
        Ok(moved) => {
            for (index, moved) in batch.iter().zip(moved) {
                let moved = unless_gone(moved, Errno::ENODEV).map_err(Arc::new);
                waiting.answer(*index, &moved.and_then(|()| deleted.clone()));
            }
        }
        Err(error) => {
            let answer = Err(Arc::new(error));
            for index in batch {
                waiting.answer(*index, &answer);
            }
        }
    }
}

impl Listener {
    /// Answers for every link that the kernel says is gone. Should it not get through, the request's own answer does
    /// it.
    fn listen(self) {
        let Self { mut events, group, waiting, lost } = self;
        loop {
            let heard = events.receive(|message| {
                if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) = message?.payload
                    // A link that leaves a bridge is told of in the bridge's family.
                    && link.header.interface_family == AddressFamily::Unspec
                {
                    waiting.answer(link.header.index, &Ok(()));
                    if is_missed(link, group) {
                        lost.notify_one();
                    }
                }
                Ok(())
            });
            match heard {
                Ok(()) => {}
                // Too much happened at once, or something that is not understood.
                Err(error) if error.kind() == io::ErrorKind::Other || is(&error, Errno::ENOBUFS) => {
                    log::debug!("link events: {error}");
                    lost.notify_one();
                }
                Err(error) => {
                    log::warn!("link events are lost, removing pods takes 20 ms more from now on: {error}");
                    return;
                }
            }
        }
    }
}

/// Whether it was a host end that nobody had condemned.
fn is_missed(link: LinkMessage, group: u32) -> bool {
    let link = Link::from(link);
    link.group == group && link.is_host_end(group)
}
