//! A thread that owns a netlink socket, so that no request ever blocks the agent's loop.

use std::sync::mpsc::{self, Sender};
use std::thread;

use tokio::sync::oneshot;

use super::NodeError;
use super::netlink::Socket;
use crate::text;

type Job = Box<dyn FnOnce(&mut Socket) + Send>;

/// The way to the thread, which ends with its last worker.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    jobs: Sender<Job>,
}

impl Worker {
    /// Opens the socket in the caller's network namespace.
    pub(super) fn start() -> Result<Self, NodeError> {
        let mut socket = Socket::open().map_err(|source| NodeError::Open { call: "socket", source })?;
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("weft-netlink".to_owned())
            .spawn(move || queue.iter().for_each(|job| job(&mut socket)))
            .map_err(|source| NodeError::Open { call: "clone", source })?;
        Ok(Self { jobs })
    }

    /// Has the thread do the work, after all that it was given before; a failure is only logged.
    pub(super) fn post(&self, work: impl FnOnce(&mut Socket) -> Result<(), NodeError> + Send + 'static) {
        let job: Job = Box::new(move |socket| {
            if let Err(error) = work(socket) {
                log::warn!("{}", text::chain(&error));
            }
        });
        // Without the thread nothing else works either, and says so.
        let _ = self.jobs.send(job);
    }

    /// Has the thread do the work; it is done even if nobody waits for the result any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Socket) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |socket| {
            // An error here means that nobody waits.
            let _ = done.send(work(socket));
        });
        self.jobs.send(job).map_err(|_| NodeError::Stopped)?;
        result.await.map_err(|_| NodeError::Stopped)?
    }
}
