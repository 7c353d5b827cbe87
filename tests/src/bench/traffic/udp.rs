//! Small datagrams, one system call each.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Client, DEADLINE, Server};
use crate::bench::statistics::number;

/// Bytes of a datagram's payload.
const PAYLOAD: usize = 64;
/// Datagrams of a turn.
const DATAGRAMS: u32 = 500;
/// Room for a whole turn while the receiver does not run: a lost datagram would never be answered.
const BUFFER: usize = 8 << 20;

/// Answers each turn's worth of datagrams with a datagram.
pub(super) fn count(address: SocketAddr) -> Result<Server> {
    let socket = UdpSocket::bind(address).with_context(|| format!("listen on {address}"))?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("enlarge a socket's buffer")?;
    Ok(Box::new(move || {
        let mut payload = [0; PAYLOAD];
        loop {
            for _ in 1..DATAGRAMS {
                socket.recv(&mut payload).context("receive")?;
            }
            let (_, client) = socket.recv_from(&mut payload).context("receive")?;
            socket.send_to(&payload, client).context("send")?;
        }
    }))
}

/// Sends datagrams until they have arrived.
pub(super) struct Datagrams(UdpSocket);

impl Datagrams {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let socket =
            UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).context("open a socket")?;
        socket.connect(address).with_context(|| format!("connect to {address}"))?;
        socket.set_read_timeout(Some(DEADLINE)).context("set a deadline")?;
        Ok(Self(socket))
    }
}

impl Client for Datagrams {
    fn turn(&mut self) -> Result<f64> {
        let mut payload = [0; PAYLOAD];
        let begun = Instant::now();
        for _ in 0..DATAGRAMS {
            self.0.send(&payload).context("send")?;
        }
        self.0.recv(&mut payload).context("wait until all have arrived")?;
        Ok(number(DATAGRAMS.into()) / begun.elapsed().as_secs_f64() / 1e3)
    }
}
