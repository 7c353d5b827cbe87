//! ICMP echo.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

/// What came back.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests sent.
    pub sent: usize,
    /// Round-trip time of each reply.
    pub replies: Vec<Duration>,
    /// Type and code of each ICMP error.
    pub errors: Vec<(u8, u8)>,
}

impl Report {
    /// Requests without a reply.
    pub fn lost(&self) -> usize {
        self.sent - self.replies.len()
    }

    /// The fastest round trip.
    pub fn fastest(&self) -> Option<Duration> {
        self.replies.iter().min().copied()
    }
}

/// Sends `count` requests one after another, each waiting up to a second for its reply.
pub fn ping(from: &Netns, to: IpAddr, count: u16) -> Result<Report> {
    from.enter(|| {
        let echo = Echo::open(to)?;
        let mut report = Report::default();
        for sequence in 0..count {
            let sent = Instant::now();
            echo.request(sequence)?;
            report.sent += 1;
            while let Some(answer) = echo.answer(sent + Duration::from_secs(1))? {
                match answer {
                    Answer::Reply(number) if number == sequence => report.replies.push(sent.elapsed()),
                    Answer::Reply(_) => continue,
                    Answer::Error(kind, code) => report.errors.push((kind, code)),
                }
                break;
            }
        }
        Ok(report)
    })?
}

/// Fails unless every one of three requests is answered; returns the fastest round trip.
pub fn must_reach(from: &Netns, to: IpAddr) -> Result<Duration> {
    let report = ping(from, to, 3)?;
    ensure!(report.lost() == 0, "{} to {to}: {report:?}", from.name());
    report.fastest().context("no reply")
}

/// Sends requests without a pause until the first one is answered; returns how long that took.
pub fn until_answered(from: &Netns, to: IpAddr, limit: Duration) -> Result<Duration> {
    from.enter(|| {
        let echo = Echo::open(to)?;
        echo.socket.set_nonblocking(true).context("make a socket non-blocking")?;
        let started = Instant::now();
        for sequence in 0..=u16::MAX {
            echo.request(sequence)?;
            thread::sleep(Duration::from_micros(200));
            while let Some(answer) = echo.next()? {
                if matches!(answer, Answer::Reply(_)) {
                    return Ok(started.elapsed());
                }
            }
            if started.elapsed() > limit {
                break;
            }
        }
        bail!("{to} did not answer within {limit:?}")
    })?
}

/// A ping that runs until it is stopped.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Report>>,
}

impl Steady {
    /// Sends a request every `interval`.
    pub fn start(from: &Netns, to: IpAddr, interval: Duration) -> Result<Self> {
        let echo = from.enter(|| Echo::open(to))??;
        echo.socket.set_nonblocking(true).context("make a socket non-blocking")?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        // The socket stays in the namespace that it was made in.
        let thread = thread::spawn(move || steady(&echo, interval, &seen));
        Ok(Self { stop, thread })
    }

    /// Stops sending, waits for late replies and tells what came back.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the ping panicked"))?
    }
}

fn steady(echo: &Echo, interval: Duration, stop: &AtomicBool) -> Result<Report> {
    let mut report = Report::default();
    let mut sent = Vec::new();
    let take = |report: &mut Report, sent: &[Instant]| -> Result<()> {
        while let Some(answer) = echo.next()? {
            match answer {
                Answer::Reply(number) => report.replies.push(sent[usize::from(number)].elapsed()),
                Answer::Error(kind, code) => report.errors.push((kind, code)),
            }
        }
        Ok(())
    };
    while !stop.load(Ordering::Relaxed) {
        let number = u16::try_from(sent.len()).context("too many requests for one ping")?;
        sent.push(Instant::now());
        echo.request(number)?;
        // A deadline on a socket counts in jiffies; sleeping does not.
        thread::sleep(interval);
        take(&mut report, &sent)?;
    }
    report.sent = sent.len();
    let late = Instant::now() + Duration::from_millis(300);
    while report.lost() > 0 && Instant::now() < late {
        thread::sleep(interval);
        take(&mut report, &sent)?;
    }
    Ok(report)
}

/// A raw socket that sends echo requests to one address.
struct Echo {
    socket: Socket,
    to: SocketAddr,
    identifier: u16,
}

enum Answer {
    Reply(u16),
    Error(u8, u8),
}

enum Packet {
    Answer(Answer),
    Foreign,
}

impl Echo {
    fn open(to: IpAddr) -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("open a raw ICMP socket")?;
        Ok(Self { socket, to: SocketAddr::new(to, 0), identifier: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    fn request(&self, sequence: u16) -> Result<()> {
        let mut message = [if self.to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 0];
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&sequence.to_be_bytes());
        if self.to.is_ipv4() {
            // The kernel fills in ICMPv6's, whose sum covers the addresses.
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.socket
            .send_to(&message, &self.to.into())
            .with_context(|| format!("send an echo request to {}", self.to))?;
        Ok(())
    }

    /// The next answer to one of our requests; `None` when the time is up.
    fn answer(&self, until: Instant) -> Result<Option<Answer>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).context("set a deadline")?;
            // A raw socket is given everybody's packets, so the time is looked at after each.
            if let Some(Packet::Answer(answer)) = self.receive()? {
                return Ok(Some(answer));
            }
        }
    }

    /// The next answer that is there already, for a socket that does not block.
    fn next(&self) -> Result<Option<Answer>> {
        loop {
            match self.receive()? {
                Some(Packet::Answer(answer)) => return Ok(Some(answer)),
                Some(Packet::Foreign) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next packet; `None` when the socket has nothing more, or not in time.
    fn receive(&self) -> Result<Option<Packet>> {
        let mut packet = [0; 2048];
        match (&self.socket).read(&mut packet) {
            Ok(len) => Ok(Some(self.understand(&packet[..len]).map_or(Packet::Foreign, Packet::Answer))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Some(Packet::Foreign)),
            // A raw socket may be told of an error before the packet that carries it is read.
            Err(error) if error.raw_os_error().is_some_and(is_unreachable) => Ok(Some(Packet::Foreign)),
            Err(error) => Err(error).context("receive an ICMP packet"),
        }
    }

    fn understand(&self, packet: &[u8]) -> Option<Answer> {
        let (message, reply, errors, quoted_header) = if self.to.is_ipv4() {
            (packet.get(usize::from(packet[0] & 0xf) * 4..)?, 0, [3, 11], 20)
        } else {
            (packet, 129, [1, 3], 40)
        };
        let (kind, code) = (*message.first()?, *message.get(1)?);
        let ours = |echo: &[u8]| echo.get(4..6) == Some(&self.identifier.to_be_bytes());
        if kind == reply && ours(message) {
            return Some(Answer::Reply(u16::from_be_bytes(message.get(6..8)?.try_into().ok()?)));
        }
        let quoted = message.get(8 + quoted_header..)?;
        (errors.contains(&kind) && ours(quoted)).then_some(Answer::Error(kind, code))
    }
}

fn is_unreachable(errno: i32) -> bool {
    [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EACCES].contains(&errno)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let [_, _, high, low] = ((sum & 0xffff) + (sum >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}
