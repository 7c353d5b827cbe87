//! Packets that somebody traces: to one client, while it listens.

use std::cell::RefCell;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use weft_abi::{Addr, Event, Hook, Reason};
use weft_cni::api::{Socket, Traced};

use crate::datapath::device_name;
use crate::flow::protocol;

use super::line;
use super::watch::Clock;

/// Lines that wait for the client; one that reads slower than packets come misses some.
const BACKLOG: usize = 4096;

/// The one client that traces.
#[derive(Debug, Default)]
pub(crate) struct Tracer(RefCell<Option<mpsc::Sender<Bytes>>>);

impl Tracer {
    /// Packets from now on, a line of JSON each; `None` until the client before is [closed](Tracer::close).
    pub(crate) fn follow(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut client = self.0.borrow_mut();
        if client.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        *client = Some(sender);
        Some(receiver)
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        self.0.take();
    }

    pub(super) fn record(&self, event: &Event, clock: Clock) {
        if let Some(client) = self.0.borrow().as_ref()
            && let Ok(line) = line::json(&describe(event, clock))
        {
            // A full backlog is the client's loss.
            let _ = client.try_send(line);
        }
    }
}

fn describe(event: &Event, clock: Clock) -> Traced {
    let reason = Reason::from_number(event.reason);
    // The identifiers of echoes are not among what the programs record.
    let ports = matches!(event.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let socket = |addr: Addr, port: u16| Socket { address: addr.into(), port: ports.then_some(u16::from_be(port)) };
    Traced {
        time_us: clock.unix_us(event.ktime_ns),
        hook: Hook::from_number(event.hook).map_or("unknown", Hook::name).to_owned(),
        device: device_name(event.ifindex).unwrap_or_else(|| format!("ifindex {}", event.ifindex)),
        src: socket(event.src, event.src_port),
        dst: socket(event.dst, event.dst_port),
        protocol: protocol::name(event.protocol),
        len: event.len,
        reason: reason.map_or("unknown", Reason::name).to_owned(),
        meaning: reason.map_or("This agent does not know the verdict.", Reason::describe).to_owned(),
        drop: reason.is_some_and(Reason::is_drop),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    const CLOCK: Clock = Clock { unix: Duration::from_secs(1000), monotonic: Duration::from_secs(10) };

    fn event() -> Event {
        Event {
            ktime_ns: 9_500_000_000,
            reason: Reason::Translated as u32,
            ifindex: i32::MAX.unsigned_abs(),
            len: 74,
            src: IpAddr::from([192, 0, 2, 1]).into(),
            dst: IpAddr::from([198, 51, 100, 7]).into(),
            protocol: 6,
            src_port: 40000_u16.to_be(),
            dst_port: 443_u16.to_be(),
            hook: Hook::ToNetdev as u8,
            ..Event::default()
        }
    }

    #[test]
    fn a_packet_is_put_into_words() {
        let traced = describe(&event(), CLOCK);
        assert_eq!((traced.time_us, traced.hook.as_str(), traced.len), (999_500_000, "to_netdev", 74));
        assert_eq!((traced.src.port, traced.dst.port, traced.protocol.as_str()), (Some(40000), Some(443), "tcp"));
        assert_eq!((traced.reason.as_str(), traced.drop), ("translated", false));
        assert_eq!(traced.device, "ifindex 2147483647");
        assert!(traced.meaning.ends_with('.'));
        let strange = describe(&Event { reason: 999, hook: 99, protocol: 47, ..event() }, CLOCK);
        assert_eq!((strange.reason.as_str(), strange.hook.as_str(), strange.src.port), ("unknown", "unknown", None));
    }

    #[test]
    fn one_client_at_a_time() {
        let tracer = Tracer::default();
        tracer.record(&event(), CLOCK);
        let mut first = tracer.follow().unwrap();
        assert!(tracer.follow().is_none());
        tracer.record(&event(), CLOCK);
        assert!(first.try_recv().unwrap().ends_with(b"}\n"));
        drop(first);
        assert!(tracer.follow().is_none());
        tracer.close();
        let mut second = tracer.follow().unwrap();
        tracer.close();
        assert!(second.try_recv().is_err() && second.is_closed());
    }
}
