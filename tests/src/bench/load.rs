//! As much traffic as a limited pod takes, and what arrives of it in bytes of IP packets.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::statistics::number;
use crate::netns::Netns;
use crate::traffic::stream;

/// Which of a pod's limits is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// What the pod sends.
    Egress,
    /// What the pod is sent.
    Ingress,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// So many TCP connections at once, each as fast as it goes.
    Streams(usize),
    /// UDP at so many bits a second.
    Datagrams(u64),
}

/// A pod, and whom it talks to by which address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) pod: &'a Netns,
    pub(super) outside: &'a Netns,
    pub(super) address: IpAddr,
    pub(super) direction: Direction,
}

/// IPv4 and UDP header.
const UDP_HEADERS: usize = 28;
/// IPv4 and TCP header with time stamps.
const TCP_HEADERS: u32 = 52;
/// What fills a packet of 1,500 bytes.
const DATAGRAM: usize = 1500 - UDP_HEADERS;
/// Bytes of a write or read.
const CHUNK: usize = 64 << 10;
/// Room in a receiver that does not get to run for a while.
const BUFFER: usize = 8 << 20;

impl Way<'_> {
    /// Runs a job under a load that has gone on for a while: bits a second that arrive meanwhile, and its result.
    pub(super) fn under<T>(&self, load: Load, warm_up: Duration, job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        match load {
            Load::Streams(count) => self.streams(count, warm_up, job),
            Load::Datagrams(rate) => self.datagrams(rate, warm_up, job),
        }
    }

    /// Round trips of a byte on a connection of their own, in milliseconds.
    pub(super) fn round_trips(&self, time: Duration) -> Result<Vec<f64>> {
        let (mut near, mut far) = self.connect()?;
        for end in [&near, &far] {
            end.set_nodelay(true).context("send at once")?;
        }
        let until = Instant::now() + time;
        let mut trips = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            near.write_all(&[0]).context("ask")?;
            far.read_exact(&mut [0]).context("be asked")?;
            far.write_all(&[0]).context("answer")?;
            near.read_exact(&mut [0]).context("be answered")?;
            trips.push(begun.elapsed().as_secs_f64() * 1e3);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(trips)
    }

    /// A connection that the pod makes: its end and the other.
    fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let listener = self.outside.enter(|| TcpListener::bind((self.address, 0)))?.context("listen")?;
        let target = listener.local_addr().context("ask for the listener's port")?;
        let near = self.pod.enter(|| stream::connect(target))??;
        let (far, _) = listener.accept().context("accept")?;
        for end in [&near, &far] {
            let cubic = OsString::from("cubic");
            setsockopt(end, sockopt::TcpCongestion, &cubic).context("choose cubic congestion control")?;
        }
        Ok((near, far))
    }

    fn streams<T>(&self, count: usize, warm_up: Duration, job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        let ends = (0..count).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let ends: Vec<(TcpStream, TcpStream)> = match self.direction {
            Direction::Egress => ends,
            Direction::Ingress => ends.into_iter().map(|(near, far)| (far, near)).collect(),
        };
        let segment = getsockopt(&ends[0].0, sockopt::TcpMaxSeg).context("ask for a connection's segments")?;
        let arrived = AtomicU64::new(0);
        let (rate, result) = thread::scope(|scope| {
            for (from, to) in &ends {
                scope.spawn(|| send(from));
                scope.spawn(|| receive(to, &arrived));
            }
            let sample = sample(&arrived, warm_up, job);
            for (from, to) in &ends {
                // One that ended by itself is at its end, too.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            }
            sample
        })?;
        Ok((rate * f64::from(segment + TCP_HEADERS) / f64::from(segment), result))
    }

    fn datagrams<T>(&self, rate: u64, warm_up: Duration, job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
        let outside = self.outside.enter(|| UdpSocket::bind((self.address, 0)))?.context("open a socket")?;
        let pod = self.pod.enter(|| UdpSocket::bind("0.0.0.0:0"))?.context("open a socket")?;
        for socket in [&outside, &pod] {
            setsockopt(socket, sockopt::RcvBufForce, &BUFFER).context("enlarge a socket's buffer")?;
            socket.set_read_timeout(Some(Duration::from_millis(100))).context("set a deadline")?;
        }
        // The pod begins, so that there is a way back.
        pod.connect(outside.local_addr().context("ask for a socket's port")?).context("choose a target")?;
        pod.send(&[0]).context("begin")?;
        let (_, seen): (_, SocketAddr) = outside.recv_from(&mut [0]).context("nothing passes")?;
        outside.connect(seen).context("choose a target")?;
        let (from, to) = match self.direction {
            Direction::Egress => (&pod, &outside),
            Direction::Ingress => (&outside, &pod),
        };
        let (arrived, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| pace(from, rate, &stop));
            scope.spawn(|| {
                let mut payload = [0; DATAGRAM];
                while !stop.load(Ordering::Relaxed) {
                    let len = to.recv(&mut payload).map_or(0, |len| len + UDP_HEADERS);
                    arrived.fetch_add(len as u64, Ordering::Relaxed);
                }
            });
            let sample = sample(&arrived, warm_up, job);
            stop.store(true, Ordering::Relaxed);
            sample
        })
    }
}

/// Bits a second that arrive while a job runs, and its result.
fn sample<T>(arrived: &AtomicU64, warm_up: Duration, job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    thread::sleep(warm_up);
    let (before, begun) = (arrived.load(Ordering::Relaxed), Instant::now());
    let result = job()?;
    let (bytes, took) = (arrived.load(Ordering::Relaxed) - before, begun.elapsed());
    Ok((number(bytes) * 8.0 / took.as_secs_f64(), result))
}

/// Writes until the connection is shut down.
fn send(mut to: &TcpStream) {
    let chunk = vec![0x5a; CHUNK];
    while to.write_all(&chunk).is_ok() {}
}

/// Reads until the connection is shut down.
fn receive(mut from: &TcpStream, arrived: &AtomicU64) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        arrived.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// Sends full packets at this rate, and makes up for what it was late.
fn pace(to: &UdpSocket, rate: u64, stop: &AtomicBool) {
    let payload = [0x5a; DATAGRAM];
    let gap = Duration::from_secs_f64(number(1500 * 8) / number(rate));
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if due > now {
            thread::sleep((due - now).min(Duration::from_millis(2)));
            continue;
        }
        // A sender that cannot keep up does not gather debts.
        due = due.max(now.checked_sub(Duration::from_millis(5)).unwrap_or(now)) + gap;
        // What the sender's own device refuses is lost like the rest.
        let _ = to.send(&payload);
    }
}
