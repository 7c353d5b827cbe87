//! TCP: round trips and a stream.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{READY, say};
use crate::bench::statistics::{median, number};

/// Round trips before the first that counts.
const WARM_UP: usize = 50;
/// Bytes of one write or read of a stream.
const CHUNK: usize = 256 * 1024;

fn accept(address: SocketAddr) -> Result<TcpStream> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    say(READY)?;
    let (stream, _) = listener.accept().context("accept")?;
    stream.set_nodelay(true).context("send at once")?;
    Ok(stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true).context("send at once")?;
    Ok(stream)
}

/// Answers each byte with a byte.
pub(super) fn answer(address: SocketAddr) -> Result<f64> {
    let mut stream = accept(address)?;
    let mut byte = [0];
    let mut count = 0;
    while stream.read(&mut byte).context("read")? == 1 {
        stream.write_all(&byte).context("write")?;
        count += 1;
    }
    Ok(number(count))
}

/// Sends a byte whenever one has come back; the median of a round trip in microseconds.
pub(super) fn ask(address: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = connect(address)?;
    let mut byte = [0];
    let mut trips = Vec::with_capacity(1 << 16);
    let started = Instant::now();
    let mut begun = started;
    while begun - started < time {
        stream.write_all(&byte).context("write")?;
        stream.read_exact(&mut byte).context("read")?;
        let ended = Instant::now();
        trips.push((ended - begun).as_secs_f64() * 1e6);
        begun = ended;
    }
    match trips.get(WARM_UP..) {
        Some(counted) if !counted.is_empty() => Ok(median(counted)),
        _ => bail!("only {} round trips in {time:?}", trips.len()),
    }
}

/// Reads to the end; Gbit/s from the first byte to the last.
pub(super) fn drain(address: SocketAddr) -> Result<f64> {
    let mut stream = accept(address)?;
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    let mut first = None;
    loop {
        let len = stream.read(&mut chunk).context("read")?;
        if len == 0 {
            break;
        }
        // What came before the clock started does not count.
        if first.is_none() {
            first = Some(Instant::now());
        } else {
            total += u64::try_from(len)?;
        }
    }
    let time = first.context("no byte came")?.elapsed();
    Ok(number(total) * 8.0 / time.as_secs_f64() / 1e9)
}

/// Writes for a while; Gbit/s that went.
pub(super) fn pour(address: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = connect(address)?;
    let chunk = vec![0; CHUNK];
    let mut total = 0;
    let started = Instant::now();
    while started.elapsed() < time {
        total += u64::try_from(stream.write(&chunk).context("write")?)?;
    }
    Ok(number(total) * 8.0 / started.elapsed().as_secs_f64() / 1e9)
}
