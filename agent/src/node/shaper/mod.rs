//! The node's shaper: one veth pair through which the packets of limited pods go, and where they wait for their turn.
//!
//! Packets leave by the entrance, whose queueing discipline holds them, and come in at the exit. Neither end has an
//! address, and nothing but the programs sends by them.

mod class;
mod device;
mod discipline;

use std::io;

use super::error::failed;
use super::netlink::Socket;
use super::{Node, NodeError, links};

pub use class::Class;
pub use discipline::Method;

/// What is to hold the rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShaperMode {
    /// Departure times where the kernel has `fq`, else classes.
    #[default]
    Auto,
    /// A departure time for each packet, kept by `fq`.
    Edt,
    /// A class of `htb` for each pod and direction.
    Htb,
}

/// The shaper as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaper {
    /// Index of the device that packets are sent by.
    pub entrance: u32,
    /// Index of the device where they come in.
    pub exit: u32,
    /// What holds them.
    pub method: Method,
}

impl Shaper {
    /// Name of the device that packets are sent by.
    pub const ENTRANCE: &'static str = links::SHAPER;
    /// Name of the device where they come in.
    pub const EXIT: &'static str = links::SHAPED;
}

impl Node {
    /// Makes the devices and their queue, or puts right what differs; whether the queue is new. One that stands stays as
    /// it is.
    ///
    /// # Errors
    /// A device of that name that is not ours, a kernel without the queueing discipline, a request that it refused.
    pub async fn ensure_shaper(&self, mode: ShaperMode) -> Result<(Shaper, bool), NodeError> {
        let (group, sysctls) = (self.group, self.sysctls.clone());
        self.worker
            .run(move |socket| {
                let pair = device::ensure(socket, &sysctls, group)?;
                let (method, new) = discipline::ensure(socket, &pair, mode)?;
                Ok((Shaper { entrance: pair.entrance, exit: pair.exit, method }, new))
            })
            .await
    }

    /// Makes these classes, or changes those that are there; what waits in them goes on waiting.
    ///
    /// # Errors
    /// The first request that the kernel refused; the others are done all the same.
    pub async fn set_classes(&self, shaper: Shaper, classes: Vec<Class>) -> Result<(), NodeError> {
        if classes.is_empty() {
            return Ok(());
        }
        self.worker.run(move |socket| class::set(socket, shaper.entrance, &classes)).await
    }

    /// Compares these classes with those of the kernel.
    ///
    /// # Errors
    /// The first difference, or a request that the kernel refused.
    pub async fn verify_classes(&self, shaper: Shaper, classes: Vec<Class>) -> Result<(), NodeError> {
        if classes.is_empty() {
            return Ok(());
        }
        self.worker.run(move |socket| class::verify(socket, shaper.entrance, &classes)).await
    }

    /// Has the classes with these handles removed, before any that is made after this call; the result is only logged.
    pub fn drop_classes(&self, shaper: Shaper, handles: Vec<u32>) {
        if !handles.is_empty() {
            self.worker.post(move |socket| class::remove(socket, shaper.entrance, &handles));
        }
    }

    /// Removes every class but those with these handles.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn retain_classes(&self, shaper: Shaper, handles: Vec<u32>) -> Result<(), NodeError> {
        self.worker
            .run(move |socket| {
                let mut stale = class::all(socket, shaper.entrance)?;
                stale.retain(|handle| !handles.contains(handle));
                class::remove(socket, shaper.entrance, &stale)
            })
            .await
    }
}

/// Packets that a class has dropped because its queue was full; waits as long as somebody holds the rtnl lock.
///
/// # Errors
/// A request that the kernel refused.
pub(crate) fn class_drops(shaper: Shaper, handles: &[u32]) -> Result<Vec<u64>, NodeError> {
    let mut socket = Socket::open().map_err(|source: io::Error| NodeError::Open { call: "socket", source })?;
    handles.iter().map(|handle| class::drops(&mut socket, shaper.entrance, *handle)).collect()
}
