//! TCP: round trips and a stream.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Client, DEADLINE, Server};
use crate::bench::statistics::{median, number};

/// Round trips of a turn, and how many of them come before the first that counts.
const TRIPS: (usize, usize) = (200, 20);
/// Bytes of a stream's turn.
const BYTES: usize = 8 << 20;
/// Bytes of one write or read of a stream.
const CHUNK: usize = 256 << 10;

/// Answers each byte with a byte.
pub(super) fn echo(address: SocketAddr) -> Result<Server> {
    accept(address, |mut stream| {
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).context("read")?;
            stream.write_all(&byte).context("write")?;
        }
    })
}

/// Answers each turn's worth of bytes with a byte.
pub(super) fn drain(address: SocketAddr) -> Result<Server> {
    accept(address, |mut stream| {
        let mut chunk = vec![0; CHUNK];
        let mut left = BYTES;
        loop {
            let most = left.min(CHUNK);
            let len = stream.read(&mut chunk[..most]).context("read")?;
            anyhow::ensure!(len > 0, "the client has gone");
            left -= len;
            if left == 0 {
                stream.write_all(&[0]).context("write")?;
                left = BYTES;
            }
        }
    })
}

fn accept<T: 'static>(
    address: SocketAddr,
    answer: impl FnOnce(TcpStream) -> Result<T> + Send + 'static,
) -> Result<Box<dyn FnOnce() -> Result<T> + Send>> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    Ok(Box::new(move || answer(plain(listener.accept().context("accept")?.0)?)))
}

/// Without delays of the protocol's own: Nagle's, and the pacing of a machine whose default is BBR.
fn plain(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true).context("send at once")?;
    setsockopt(&stream, sockopt::TcpCongestion, &OsString::from("cubic")).context("choose cubic congestion control")?;
    Ok(stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(DEADLINE)).context("set a deadline")?;
    stream.set_write_timeout(Some(DEADLINE)).context("set a deadline")?;
    plain(stream)
}

/// Sends a byte whenever one has come back.
pub(super) struct RoundTrips(TcpStream);

impl RoundTrips {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        connect(address).map(Self)
    }
}

impl Client for RoundTrips {
    fn turn(&mut self) -> Result<f64> {
        let (all, warm_up) = TRIPS;
        let mut byte = [0];
        let mut trips = Vec::with_capacity(all);
        let mut begun = Instant::now();
        for _ in 0..all {
            self.0.write_all(&byte).context("write")?;
            self.0.read_exact(&mut byte).context("read")?;
            let ended = Instant::now();
            trips.push((ended - begun).as_secs_f64() * 1e6);
            begun = ended;
        }
        Ok(median(&trips[warm_up..]))
    }
}

/// Sends bytes until they have arrived.
pub(super) struct Stream {
    stream: TcpStream,
    chunk: Vec<u8>,
}

impl Stream {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(address)?, chunk: vec![0; CHUNK] })
    }
}

impl Client for Stream {
    fn turn(&mut self) -> Result<f64> {
        let begun = Instant::now();
        for _ in 0..BYTES / CHUNK {
            self.stream.write_all(&self.chunk).context("write")?;
        }
        self.stream.read_exact(&mut [0]).context("read")?;
        Ok(number(u64::try_from(BYTES)?) * 8.0 / begun.elapsed().as_secs_f64() / 1e9)
    }
}
