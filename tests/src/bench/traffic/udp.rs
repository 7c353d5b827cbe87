//! Small datagrams, one system call each.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use super::{READY, say};
use crate::bench::statistics::number;

/// Bytes of a datagram's payload.
const PAYLOAD: usize = 64;
/// Room for what waits while the receiver does not run: a lost datagram would count against the path.
const BUFFER: usize = 64 << 20;
/// Datagrams before the first that counts.
const WARM_UP: u64 = 100;
/// So long after the last datagram the client has ended.
const SILENCE: Duration = Duration::from_millis(50);

/// Counts datagrams until none comes; how many a second.
pub(super) fn count(address: SocketAddr) -> Result<f64> {
    let socket = UdpSocket::bind(address).with_context(|| format!("listen on {address}"))?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("enlarge a socket's buffer")?;
    say(READY)?;
    let mut payload = [0; PAYLOAD];
    socket.recv(&mut payload).context("receive")?;
    socket.set_read_timeout(Some(SILENCE)).context("set a deadline")?;
    let (mut count, mut first, mut last) = (1, Instant::now(), Instant::now());
    loop {
        match socket.recv(&mut payload) {
            Ok(_) => {
                last = Instant::now();
                count += 1;
                if count == WARM_UP {
                    first = last;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error).context("receive"),
        }
    }
    ensure!(count > 2 * WARM_UP, "only {count} datagrams came");
    Ok(number(count - WARM_UP) / (last - first).as_secs_f64())
}

/// Sends datagrams for a while; how many a second.
pub(super) fn send(address: SocketAddr, time: Duration) -> Result<f64> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).context("open a socket")?;
    socket.connect(address).with_context(|| format!("connect to {address}"))?;
    let payload = [0; PAYLOAD];
    let mut count = 0;
    let started = Instant::now();
    while started.elapsed() < time {
        socket.send(&payload).context("send")?;
        count += 1;
    }
    Ok(number(count) / started.elapsed().as_secs_f64())
}
