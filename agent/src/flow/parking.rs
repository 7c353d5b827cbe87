//! Fragments that came in before the first one of their datagram: they wait here until that one has told whose they
//! are, and come in once more.
//!
//! The stack has had them meanwhile, so those of the node itself are only forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use weft_abi::{FlowFlags, Fragment, Nat, Parked, Ports, Tuple};

use crate::datapath::{Datapath, DatapathError, FrameSocket, ParkedStream};
use crate::node::{Node, Relay};
use crate::text;

use super::collector::monotonic;

/// Fragments that wait at most.
const MOST: usize = 256;
/// Fragments that are read at once.
const BATCH: usize = 64;
/// How long after a fragment came it is looked for the first one of its datagram.
const LOOKS: [Duration; 7] = [
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
];
/// The pause after a round: at least until anything new may be looked at, and so many times what the round took, so that
/// whoever floods the node with fragments takes a quarter of a core at most.
const SHORTEST: Duration = Duration::from_millis(1);
const SHARE: u32 = 3;

/// Sends fragments again that came too early.
pub(crate) struct Parking {
    stream: ParkedStream,
    datapath: Arc<Datapath>,
    node: Node,
    socket: FrameSocket,
    /// The device where they came in when some were last sent; 0 before.
    relay: u32,
}

/// For whom a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// The node itself.
    Node,
    /// A pod, straight.
    Pod,
    /// A pod, by the node's stack.
    Stack,
}

#[derive(Debug)]
struct Waiting {
    key: Fragment,
    /// On the monotonic clock.
    came: Duration,
    /// So many looks found nothing.
    looks: usize,
    frame: Box<[u8]>,
}

/// The fragments that wait, in the order in which they came.
#[derive(Debug, Default)]
struct Lot(Vec<Waiting>);

impl Parking {
    /// Takes over what the programs park. Runs inside a tokio runtime.
    pub(crate) fn open(datapath: Arc<Datapath>, node: Node) -> Result<Self, DatapathError> {
        let socket =
            FrameSocket::open().map_err(|source| DatapathError::System { call: "socket(AF_PACKET)", source })?;
        Ok(Self { stream: datapath.parked()?, datapath, node, socket, relay: 0 })
    }

    /// Sends fragments again until the agent stops. Costs nothing while there are none.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let (mut lot, mut batch) = (Lot::default(), Vec::new());
        loop {
            let room = lot.room().min(BATCH);
            let due = lot.due();
            tokio::select! {
                read = self.stream.next_batch(room, &mut batch), if room > 0 => if let Err(error) = read {
                    return log::warn!("fragments that come before the first one are lost: {}", text::chain(&error));
                },
                () = sleep(due.unwrap_or_default().saturating_sub(monotonic())), if due.is_some() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let begun = Instant::now();
            // What was sent already and is not known any more is not sent again.
            let fresh = batch.drain(..).filter(|record: &Parked| record.ifindex != self.relay);
            fresh.for_each(|record| lot.add(&record));
            let found = lot.look(monotonic(), |key| {
                receiver(key, |key| self.datapath.ports(key), |tuple| self.datapath.nat(tuple)).unwrap_or_else(
                    |error| {
                        log::debug!("a fragment waits: {}", text::chain(&error));
                        None
                    },
                )
            });
            if !found.is_empty() {
                self.send(found).await;
            }
            sleep(SHORTEST.max(begun.elapsed() * SHARE)).await;
        }
    }

    async fn send(&mut self, fragments: Vec<(Receiver, Box<[u8]>)>) {
        let relay = match self.node.relay().await {
            Ok(Some(relay)) => relay,
            Ok(None) => return log::debug!("fragments are lost: {} is missing", Relay::NAME),
            Err(error) => return log::debug!("fragments are lost: {}", text::chain(&error)),
        };
        self.relay = relay.device;
        for (receiver, mut frame) in fragments {
            if receiver == Receiver::Stack && frame.len() > relay.mac.len() {
                // What is addressed to another device the stack leaves alone.
                frame[..relay.mac.len()].copy_from_slice(&relay.mac);
            }
            if let Err(error) = self.socket.send(relay.entrance, &frame) {
                log::debug!("a fragment is lost: {error}");
            }
        }
    }
}

/// For whom the fragments of a datagram are; `None` while nobody knows.
fn receiver<E>(
    key: &Fragment,
    ports: impl FnOnce(&Fragment) -> Result<Option<Ports>, E>,
    nat: impl FnOnce(&Tuple) -> Result<Option<Nat>, E>,
) -> Result<Option<Receiver>, E> {
    let Some(ports) = ports(key)? else { return Ok(None) };
    let tuple = Tuple::between(key.protocol, (key.dst, ports.dst), (key.src, ports.src));
    Ok(Some(match nat(&tuple)? {
        Some(nat) if nat.flags & FlowFlags::HOST != 0 => Receiver::Node,
        Some(nat) if nat.flags & FlowFlags::VIA_STACK != 0 => Receiver::Stack,
        Some(_) => Receiver::Pod,
        None => Receiver::Node,
    }))
}

impl Lot {
    fn room(&self) -> usize {
        MOST.saturating_sub(self.0.len())
    }

    fn add(&mut self, record: &Parked) {
        let len = usize::try_from(record.len).unwrap_or(usize::MAX);
        let Some(frame) = record.frame.get(..len) else { return };
        let came = Duration::from_nanos(record.ktime_ns);
        self.0.push(Waiting { key: record.key, came, looks: 0, frame: frame.into() });
    }

    /// When the next one has to be looked at.
    fn due(&self) -> Option<Duration> {
        self.0.iter().filter_map(Waiting::due).min()
    }

    /// Looks at those whose time it is: takes out those that are a pod's, and forgets the node's own and those that
    /// have waited long enough.
    fn look(
        &mut self,
        now: Duration,
        mut receiver: impl FnMut(&Fragment) -> Option<Receiver>,
    ) -> Vec<(Receiver, Box<[u8]>)> {
        let mut found = Vec::new();
        self.0.retain_mut(|waiting| {
            if waiting.due().is_some_and(|due| due > now) {
                return true;
            }
            match receiver(&waiting.key) {
                Some(Receiver::Node) => false,
                Some(receiver) => {
                    found.push((receiver, std::mem::take(&mut waiting.frame)));
                    false
                }
                None => {
                    while waiting.due().is_some_and(|due| due <= now) {
                        waiting.looks += 1;
                    }
                    waiting.due().is_some()
                }
            }
        });
        found
    }
}

impl Waiting {
    fn due(&self) -> Option<Duration> {
        LOOKS.get(self.looks).map(|look| self.came + *look)
    }
}

#[cfg(test)]
mod tests {
    use weft_abi::PARKED_FRAME_MAX;

    use super::*;

    const CAME: Duration = Duration::from_secs(7);

    fn parked(id: u32, len: u32) -> Parked {
        let key = Fragment { id, ..Fragment::default() };
        Parked { key, ktime_ns: 7_000_000_000, ifindex: 2, len, frame: [9; PARKED_FRAME_MAX] }
    }

    fn lot(ids: impl IntoIterator<Item = u32>) -> Lot {
        let mut lot = Lot::default();
        ids.into_iter().for_each(|id| lot.add(&parked(id, 60)));
        lot
    }

    #[test]
    fn a_fragment_is_looked_at_seven_times_and_forgotten_after_a_second() {
        let mut lot = lot([1]);
        let (mut times, mut looks) = (Vec::new(), 0);
        while let Some(due) = lot.due() {
            for now in [due.saturating_sub(Duration::from_nanos(1)), due] {
                let found = lot.look(now, |_| {
                    looks += 1;
                    None
                });
                assert!(found.is_empty());
            }
            times.push(due.saturating_sub(CAME));
        }
        assert_eq!((times.as_slice(), looks), (&LOOKS[..], LOOKS.len()));
        assert_eq!(lot.room(), MOST);
    }

    #[test]
    fn one_that_was_read_late_is_looked_at_once() {
        let mut lot = lot([1, 2]);
        let mut looks = 0;
        let found = lot.look(CAME + Duration::from_secs(3), |key| {
            looks += 1;
            (key.id == 2).then_some(Receiver::Pod)
        });
        assert_eq!((looks, found.len(), lot.room()), (2, 1, MOST));
    }

    #[test]
    fn pods_fragments_come_out_whole_and_in_order() {
        let mut lot = lot([1, 2, 3, 4]);
        lot.add(&parked(5, 70));
        let found = lot.look(CAME + LOOKS[0], |key| match key.id {
            1 => Some(Receiver::Stack),
            2 => Some(Receiver::Node),
            5 => Some(Receiver::Pod),
            _ => None,
        });
        let told: Vec<_> = found.iter().map(|(receiver, frame)| (*receiver, frame.len())).collect();
        assert_eq!(told, [(Receiver::Stack, 60), (Receiver::Pod, 70)]);
        assert_eq!(lot.room(), MOST - 2);
    }

    #[test]
    fn a_record_that_says_more_than_it_has_is_none() {
        let mut lot = lot([]);
        lot.add(&parked(1, u32::MAX));
        assert_eq!(lot.room(), MOST);
    }

    #[test]
    fn the_tables_tell_the_receiver() {
        let key = Fragment { id: 4711, protocol: 17, ..Fragment::default() };
        let ask = |ports: Option<Ports>, flags: Option<u32>| {
            let nat = |tuple: &Tuple| {
                assert_eq!((tuple.inside_port, tuple.outside_port, tuple.protocol), (2, 1, 17));
                Ok(flags.map(|flags| Nat { flags, ..Nat::default() }))
            };
            receiver(&key, |_| Ok::<_, ()>(ports), nat).unwrap()
        };
        let ports = Some(Ports { src: 1, dst: 2 });
        assert_eq!(ask(None, Some(0)), None);
        assert_eq!(ask(ports, None), Some(Receiver::Node));
        assert_eq!(ask(ports, Some(FlowFlags::HOST)), Some(Receiver::Node));
        assert_eq!(ask(ports, Some(FlowFlags::VIA_STACK)), Some(Receiver::Stack));
        assert_eq!(ask(ports, Some(0)), Some(Receiver::Pod));
    }
}
