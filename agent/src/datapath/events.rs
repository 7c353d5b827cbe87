//! Drop records, as the programs write them into the ring buffer.

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use weft_abi::{EVENTS_BYTES, Event};

use super::plain;
use super::{DatapathError, maps};
use crate::datapath::pins::Pins;

/// Records that the ring buffer can hold at most: one pass, even if the programs write faster than they are read.
const PASS: usize = EVENTS_BYTES as usize / size_of::<Event>();

/// The one reader of the ring buffer; what it has read is gone for others.
pub struct EventStream {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl EventStream {
    /// Opens the ring buffer inside a tokio runtime.
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let ring = plain::watch(maps::open_events(pins)?)
            .map_err(|source| DatapathError::System { call: "epoll_ctl", source })?;
        Ok(Self { ring })
    }

    /// Waits until there are records, and appends them. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// The runtime cannot watch the ring buffer any more.
    pub async fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<(), DatapathError> {
        let before = out.len();
        while out.len() == before {
            let readable = self.ring.readable_mut().await;
            let mut ready = readable.map_err(|source| DatapathError::System { call: "epoll_wait", source })?;
            let ring = ready.get_inner_mut();
            let mut empty = false;
            while !empty && out.len() - before < PASS {
                match ring.next() {
                    Some(record) => out.extend(plain::read::<Event>(&record)),
                    None => empty = true,
                }
            }
            if empty {
                ready.clear_ready();
            }
        }
        Ok(())
    }
}
