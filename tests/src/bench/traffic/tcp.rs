//! TCP: round trips and a stream.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::{Client, DEADLINE, Server, open};
use crate::bench::statistics::{median, number};

/// Round trips of a turn, and how many of them come before the first that counts.
const TRIPS: (usize, usize) = (200, 20);
/// Bytes of a stream's turn.
const BYTES: usize = 8 << 20;
/// Bytes of one write or read of a stream.
const CHUNK: usize = 256 << 10;
/// Connections of a turn.
const CONNECTIONS: u32 = 50;

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

/// Answers the first byte of each connection with a byte, and closes. It closes first, so that the ports that have to
/// rest are not the client's.
pub(super) fn greet(address: SocketAddr) -> Result<Server> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    Ok(Box::new(move || {
        loop {
            let (mut stream, _) = listener.accept().context("accept")?;
            let mut byte = [0];
            // A client that has gone is none to answer.
            let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
        }
    }))
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

/// Opens a connection whenever the last one is closed.
pub(super) struct Connections {
    netns: File,
    server: SocketAddr,
}

impl Connections {
    pub(super) fn to(netns: &Path, server: SocketAddr) -> Result<Self> {
        Ok(Self { netns: open(netns)?, server })
    }

    fn meet(&self) -> Result<()> {
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, None).context("open a socket")?;
        socket.set_write_timeout(Some(DEADLINE)).context("set a deadline")?;
        socket.set_read_timeout(Some(DEADLINE)).context("set a deadline")?;
        socket.connect(&self.server.into()).with_context(|| format!("connect to {}", self.server))?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(&[0]).context("write")?;
        stream.read_exact(&mut [0]).context("read")
    }
}

impl Client for Connections {
    fn turn(&mut self) -> Result<f64> {
        // This process has nothing else to do, so its thread may stay there until the next turn.
        setns(&self.netns, CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
        let begun = Instant::now();
        for _ in 0..CONNECTIONS {
            self.meet()?;
        }
        Ok(f64::from(CONNECTIONS) / begun.elapsed().as_secs_f64())
    }
}
