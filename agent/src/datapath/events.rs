//! Records, as the programs write them into a ring buffer.

use std::marker::PhantomData;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use weft_abi::{EVENTS_BYTES, Event, Parked, Plain, map};

use super::plain;
use super::{Datapath, DatapathError, maps};
use crate::datapath::pins::Pins;

/// Records that the ring buffer of events can hold at most: one pass, even if the programs write faster than they are
/// read.
const PASS: usize = EVENTS_BYTES as usize / size_of::<Event>();

/// The one reader of a ring buffer; what it has read is gone for others.
struct Stream<T> {
    ring: AsyncFd<RingBuf<MapData>>,
    records: PhantomData<fn() -> T>,
}

/// The one reader of the ring buffer of drops and traced packets.
pub struct EventStream(Stream<Event>);

/// The one reader of the ring buffer of fragments that came before their first one.
pub(crate) struct ParkedStream(Stream<Parked>);

impl<T: Plain> Stream<T> {
    /// Opens the ring buffer inside a tokio runtime.
    fn open(pins: &Pins, name: &'static str) -> Result<Self, DatapathError> {
        let ring = plain::watch(maps::open_ring(pins, name)?)
            .map_err(|source| DatapathError::System { call: "epoll_ctl", source })?;
        Ok(Self { ring, records: PhantomData })
    }

    async fn next_batch(&mut self, most: usize, out: &mut Vec<T>) -> Result<(), DatapathError> {
        let before = out.len();
        while out.len() == before {
            let readable = self.ring.readable_mut().await;
            let mut ready = readable.map_err(|source| DatapathError::System { call: "epoll_wait", source })?;
            let ring = ready.get_inner_mut();
            let mut empty = false;
            while !empty && out.len() - before < most {
                match ring.next() {
                    Some(record) => out.extend(plain::read::<T>(&record)),
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

impl EventStream {
    /// Waits until there are records, and appends them. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// The runtime cannot watch the ring buffer any more.
    pub async fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<(), DatapathError> {
        self.0.next_batch(PASS, out).await
    }
}

impl ParkedStream {
    /// The same for at most so many, which must not be 0.
    pub(crate) async fn next_batch(&mut self, most: usize, out: &mut Vec<Parked>) -> Result<(), DatapathError> {
        self.0.next_batch(most, out).await
    }
}

impl Datapath {
    /// The drop records from now on; for one reader, inside a tokio runtime.
    ///
    /// # Errors
    /// The ring buffer cannot be opened or watched.
    pub fn events(&self) -> Result<EventStream, DatapathError> {
        Stream::open(&self.attacher.pins, map::EVENTS).map(EventStream)
    }

    /// The fragments that are parked from now on, likewise.
    pub(crate) fn parked(&self) -> Result<ParkedStream, DatapathError> {
        Stream::open(&self.attacher.pins, map::PARKED).map(ParkedStream)
    }
}
