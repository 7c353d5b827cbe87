//! Makes this node's pod ranges what its object says, whenever that changes.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::endpoint::Endpoints;
use crate::k8s::OwnNode;
use crate::kernel::{Host, KernelError};
use crate::node::Node;
use crate::text;

use super::{Cache, Known, Troubles};

/// How often it is looked for pods outside the ranges that are gone by now.
const ROUND: Duration = Duration::from_secs(30);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the node's addresses of former ranges outlive them: until then nothing names them any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// The one who changes the ranges.
#[derive(Debug)]
pub(crate) struct Ranges {
    pub(crate) node: Node,
    pub(crate) endpoints: Rc<Endpoints<Host>>,
    pub(crate) own: watch::Receiver<OwnNode>,
    /// What other nodes' ranges are set against: this node's, and addresses of pods outside of them.
    pub(crate) local: watch::Sender<Arc<[IpNet]>>,
    /// Whether pods get addresses.
    pub(crate) ranged: watch::Sender<bool>,
    pub(crate) troubles: Rc<Troubles>,
    pub(crate) cache: Cache,
    /// What is in force.
    pub(crate) known: Known,
}

impl Ranges {
    /// Follows this node's object for as long as somebody tells of it.
    pub(crate) async fn follow(mut self) {
        let mut changed = None;
        loop {
            let own = self.own.borrow_and_update().clone();
            let outcome = self.bring_about(&own, &mut changed).await;
            let pause = match (&outcome, changed) {
                (Err(_), _) => RETRY,
                (Ok(()), Some(_)) => FAREWELL,
                (Ok(()), None) => ROUND,
            };
            self.tell(own.ranges.as_deref().unwrap_or_default(), outcome);
            tokio::select! {
                news = self.own.changed() => if news.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    async fn bring_about(&mut self, own: &OwnNode, changed: &mut Option<Instant>) -> Result<(), KernelError> {
        match &own.ranges {
            Some(ranges) if **ranges != *self.known.ranges => {
                self.change(ranges).await?;
                // At once: pods may come from now on, and the next agent has to know of what ranges they are.
                self.remember(&own.addresses);
                self.endpoints.rejoin().await;
                *changed = Some(Instant::now());
            }
            _ if changed.is_some_and(|since| since.elapsed() >= FAREWELL) => {
                self.node.forget_former().await?;
                *changed = None;
            }
            _ => {}
        }
        self.local.send_if_modified(|local| replace(local, &local_to(&self.known.ranges, &self.endpoints)));
        self.remember(&own.addresses);
        Ok(())
    }

    /// The node first, then what new pods get, then what other nodes' ranges are set against.
    async fn change(&mut self, ranges: &[IpNet]) -> Result<(), KernelError> {
        self.node.prepare(ranges).await?;
        self.endpoints.set_ranges(ranges).await?;
        let before = std::mem::replace(&mut self.known.ranges, ranges.to_vec());
        if before.is_empty() {
            log::info!("pod ranges are {}", show(ranges));
        } else {
            log::warn!(
                "pod ranges were {}, and are {} from now on: pods keep what they have",
                show(&before),
                show(ranges)
            );
        }
        self.local.send_if_modified(|local| replace(local, &local_to(ranges, &self.endpoints)));
        self.ranged.send_replace(true);
        Ok(())
    }

    fn remember(&mut self, addresses: &[IpAddr]) {
        let known = Known { ranges: self.known.ranges.clone(), addresses: addresses.to_vec() };
        if known.ranges.is_empty() || self.cache.read().as_ref() == Some(&known) {
            return;
        }
        if let Err(error) = self.cache.write(&known) {
            log::warn!("this node's pod ranges cannot be kept for a start without the API server: {error}");
        }
        self.known = known;
    }

    fn tell(&self, ranges: &[IpNet], outcome: Result<(), KernelError>) {
        let sentence = |error| format!("pod ranges {} cannot be brought up: {}", show(ranges), text::chain(&error));
        let trouble = outcome.err().map(sentence);
        let mut told = self.troubles.ranges.borrow_mut();
        if let Some(new) = trouble.as_ref().filter(|new| told.as_ref() != Some(new)) {
            log::warn!("{new}");
        }
        *told = trouble;
    }
}

/// The ranges, and the addresses of pods that have others.
pub(crate) fn local_to(ranges: &[IpNet], endpoints: &Endpoints<Host>) -> Arc<[IpNet]> {
    let strays = endpoints.stray_addresses().into_iter().map(IpNet::from);
    ranges.iter().copied().chain(strays).collect()
}

fn replace(current: &mut Arc<[IpNet]>, new: &Arc<[IpNet]>) -> bool {
    let changes = current != new;
    current.clone_from(new);
    changes
}

fn show(ranges: &[IpNet]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
