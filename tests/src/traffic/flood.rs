//! As much as a way carries, and how much that is.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Add;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::SockRef;

use super::stream;
use crate::netns::Netns;

/// Bytes of one write.
const CHUNK: usize = 128 * 1024;
/// How long a reader waits before it looks whether all is over.
const PATIENCE: Duration = Duration::from_millis(100);
/// Before this streams find their speed, and bursts are used up.
const WARM_UP: Duration = Duration::from_millis(1500);
/// Bytes of a datagram's payload that fit any pod's MTU here, and are a whole packet.
const PAYLOAD: usize = 1200;
/// Parts of a measurement; odd, so that one is in the middle.
const WINDOWS: usize = 5;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Streams at the same time.
    pub streams: usize,
    /// The senders' congestion control.
    pub congestion: &'static str,
    /// How long, after a warm-up.
    pub time: Duration,
}

/// What a way carried, in bits a second of IP packets.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Over the whole time.
    pub mean: f64,
    /// In each of [`WINDOWS`] parts of that time.
    windows: [f64; WINDOWS],
}

impl Reached {
    /// In the middle one of the parts: a machine that stands still for a moment takes from the mean, and not from this.
    pub fn median(&self) -> f64 {
        let mut windows = self.windows;
        windows.sort_by(f64::total_cmp);
        windows[WINDOWS / 2]
    }
}

impl Add for Reached {
    type Output = Self;

    /// What two ways carried at the same time.
    fn add(self, other: Self) -> Self {
        let windows = std::array::from_fn(|window| self.windows[window] + other.windows[window]);
        Self { mean: self.mean + other.mean, windows }
    }
}

/// What TCP brings from one namespace to an address of another.
pub fn tcp(from: &Netns, to: &Netns, address: IpAddr, tcp: Tcp) -> Result<Reached> {
    between(from, to, address, tcp, false)
}

/// The same the other way, on connections that the receiving side has begun.
pub fn tcp_back(to: &Netns, from: &Netns, address: IpAddr, tcp: Tcp) -> Result<Reached> {
    between(to, from, address, tcp, true)
}

fn between(from: &Netns, to: &Netns, address: IpAddr, tcp: Tcp, back: bool) -> Result<Reached> {
    let Tcp { streams, congestion, time } = tcp;
    let listener = to.enter(|| TcpListener::bind(SocketAddr::new(address, 0)))?.context("listen")?;
    let target = listener.local_addr().context("ask for the listener's port")?;
    let over = AtomicBool::new(false);
    let receiver = if back { from } else { to };
    let pairs = (0..streams).map(|_| {
        let near = from.enter(|| stream::connect(target))??;
        let (far, _) = listener.accept().context("accept")?;
        let (near, far) = if back { (far, near) } else { (near, far) };
        SockRef::from(&near).set_tcp_congestion(congestion.as_bytes()).context(congestion)?;
        near.set_write_timeout(Some(PATIENCE)).context("set a deadline")?;
        far.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
        Ok((near, far))
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        for (near, far) in &pairs {
            let over = &over;
            scope.spawn(move || {
                let (mut near, chunk) = (near, vec![0; CHUNK]);
                while !over.load(Ordering::Relaxed) && near.write(&chunk).or_else(later).is_ok() {}
            });
            scope.spawn(move || {
                let (mut far, mut chunk) = (far, vec![0; CHUNK]);
                while !over.load(Ordering::Relaxed) && far.read(&mut chunk).or_else(later).is_ok() {}
            });
        }
        let rate = measure(|| octets(receiver, address.is_ipv4()), time);
        over.store(true, Ordering::Relaxed);
        rate
    })
}

/// What arrives at an address when so many bits a second are sent by UDP.
pub fn udp(from: &Netns, to: &Netns, address: IpAddr, bits: f64, time: Duration) -> Result<Reached> {
    let receiver = to.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)))?.context("bind")?;
    receiver.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
    SockRef::from(&receiver).set_recv_buffer_size(4 << 20).context("make room")?;
    let target = receiver.local_addr().context("ask for the port")?;
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let sender = from.enter(|| UdpSocket::bind(SocketAddr::new(any, 0)))?.context("bind")?;
    sender.connect(target).context("connect")?;
    let packet = PAYLOAD + if address.is_ipv4() { 28 } else { 48 };
    let bits_of_packet = f64::from(u32::try_from(packet * 8)?);
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (payload, begun, mut sent) = ([0; PAYLOAD], Instant::now(), 0.0);
            while !over.load(Ordering::Relaxed) {
                while sent < begun.elapsed().as_secs_f64() * bits && !over.load(Ordering::Relaxed) {
                    // What finds no room is lost, as elsewhere.
                    let _ = sender.send(&payload);
                    sent += bits_of_packet;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        scope.spawn(|| {
            let mut payload = [0; PAYLOAD];
            while !over.load(Ordering::Relaxed) {
                if receiver.recv(&mut payload).is_ok() {
                    count.fetch_add(packet as u64, Ordering::Relaxed);
                }
            }
        });
        let rate = measure(|| Ok(count.load(Ordering::Relaxed)), time);
        over.store(true, Ordering::Relaxed);
        rate
    })
}

fn measure(count: impl Fn() -> Result<u64>, time: Duration) -> Result<Reached> {
    thread::sleep(WARM_UP);
    let part = time / u32::try_from(WINDOWS)?;
    let first = Reading::take(&count)?;
    let (mut last, mut windows) = (first, [0.0; WINDOWS]);
    for window in &mut windows {
        thread::sleep(part);
        let next = Reading::take(&count)?;
        *window = last.rate_until(next);
        last = next;
    }
    Ok(Reached { mean: first.rate_until(last), windows })
}

/// Bytes that were counted at a time.
#[derive(Clone, Copy)]
struct Reading {
    bytes: u64,
    at: Instant,
}

impl Reading {
    fn take(count: impl Fn() -> Result<u64>) -> Result<Self> {
        Ok(Self { bytes: count()?, at: Instant::now() })
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a few seconds")]
    fn rate_until(self, later: Self) -> f64 {
        (later.bytes - self.bytes) as f64 * 8.0 / later.at.duration_since(self.at).as_secs_f64()
    }
}

/// Bytes of IP packets of a family that have come into a namespace. What a socket reads would come in fits and starts:
/// a lost packet holds up all behind it.
fn octets(netns: &Netns, v4: bool) -> Result<u64> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/thread-self/net").join(name)).context(name.to_owned());
    if !v4 {
        let text = netns.enter(|| read("snmp6"))??;
        let value = text.lines().find_map(|line| line.strip_prefix("Ip6InOctets"));
        return Ok(value.context("no Ip6InOctets")?.trim().parse()?);
    }
    let text = netns.enter(|| read("netstat"))??;
    let mut lines = text.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, values) = lines.next().zip(lines.next()).context("no IpExt")?;
    let value = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InOctets");
    Ok(value.context("no InOctets")?.1.parse()?)
}

fn later(error: std::io::Error) -> std::io::Result<usize> {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) { Ok(0) } else { Err(error) }
}
