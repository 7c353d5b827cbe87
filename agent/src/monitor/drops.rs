//! Dropped packets: the newest ones, and a stream of those to come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use weft_abi::{Addr, Direction, Event, Reason};
use weft_cni::api::{AttachmentKey, Drop as DropRecord};
use weft_cni::mac::Mac;

use super::line;
use super::watch::Clock;

/// Drops that are remembered.
const HISTORY: usize = 1024;
/// Lines that wait for a follower; one that reads slower than packets are dropped misses some.
const BACKLOG: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct DropLog {
    recent: RefCell<VecDeque<DropRecord>>,
    followers: RefCell<Vec<mpsc::Sender<Bytes>>>,
}

impl DropLog {
    /// The newest drops, newest last.
    pub(crate) fn recent(&self) -> Vec<DropRecord> {
        self.recent.borrow().iter().cloned().collect()
    }

    /// Drops from now on, a line of JSON each, until the agent stops.
    pub(crate) fn follow(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.followers.borrow_mut().push(sender);
        receiver
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.followers.borrow_mut().clear();
    }

    pub(super) fn record(&self, drop: DropRecord) {
        let mut followers = self.followers.borrow_mut();
        followers.retain(|follower| !follower.is_closed());
        if !followers.is_empty()
            && let Ok(line) = line::json(&drop)
        {
            for follower in followers.iter() {
                // A full backlog is the follower's loss.
                let _ = follower.try_send(line.clone());
            }
        }
        let mut recent = self.recent.borrow_mut();
        if recent.len() == HISTORY {
            recent.pop_front();
        }
        recent.push_back(drop);
    }
}

pub(super) fn describe(event: &Event, clock: Clock, endpoint: Option<AttachmentKey>) -> DropRecord {
    let direction = Direction::ALL.into_iter().find(|direction| *direction as u32 == event.direction);
    DropRecord {
        time_ms: clock.unix_us(event.ktime_ns) / 1000,
        reason: Reason::from_number(event.reason).map_or("unknown", Reason::name).to_owned(),
        direction: direction.map_or("unknown", Direction::name).to_owned(),
        ifindex: event.ifindex,
        endpoint,
        src: known(event.src),
        dst: known(event.dst),
        src_mac: Mac(event.src_mac),
        dst_mac: Mac(event.dst_mac),
        ethertype: event.ethertype,
        protocol: event.protocol,
        len: event.len,
    }
}

fn known(addr: Addr) -> Option<IpAddr> {
    (addr != Addr::default()).then(|| addr.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLOCK: Clock = Clock { unix: Duration::from_secs(1000), monotonic: Duration::from_secs(10) };

    fn event(ifindex: u32) -> Event {
        Event {
            ktime_ns: 9_500_000_000,
            reason: Reason::SourceAddr as u32,
            direction: Direction::Ingress as u32,
            ifindex,
            len: 60,
            src: IpAddr::from([10, 0, 0, 2]).into(),
            ethertype: 0x0800,
            protocol: 17,
            ..Event::default()
        }
    }

    #[test]
    fn events_are_put_into_words() {
        let drop = describe(&event(7), CLOCK, None);
        assert_eq!((drop.time_ms, drop.reason.as_str(), drop.direction.as_str()), (999_500, "source-addr", "ingress"));
        assert_eq!((drop.src, drop.dst), (Some([10, 0, 0, 2].into()), None));
        let strange = describe(&Event { reason: 999, direction: 9, ..event(7) }, CLOCK, None);
        assert_eq!((strange.reason.as_str(), strange.direction.as_str()), ("unknown", "unknown"));
    }

    #[test]
    fn history_is_bounded_and_followers_come_and_go() {
        let log = DropLog::default();
        log.record(describe(&event(0), CLOCK, None));
        let mut follower = log.follow();
        drop(log.follow());
        for ifindex in 1..=u32::try_from(HISTORY).unwrap() + 5 {
            log.record(describe(&event(ifindex), CLOCK, None));
        }
        let recent = log.recent();
        assert_eq!((recent.len(), recent[0].ifindex), (HISTORY, 6));
        assert_eq!(log.followers.borrow().len(), 1);
        let line = follower.try_recv().unwrap();
        assert!(line.ends_with(b"}\n"));
        assert_eq!(serde_json::from_slice::<DropRecord>(&line).unwrap().ifindex, 1);
        log.close();
        let mut left = 0;
        while follower.try_recv().is_ok() {
            left += 1;
        }
        assert_eq!(left, BACKLOG - 1);
        assert!(follower.is_closed());
    }
}
