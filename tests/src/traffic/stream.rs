//! TCP streams whose every byte is checked.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;

/// Bytes of one write: far more than a GSO packet takes.
const CHUNK: usize = 256 * 1024;

/// Sends `bytes` from the client to the server and as many back; returns how long both took.
pub fn both_ways(client: &Netns, server: &Netns, address: IpAddr, bytes: usize) -> Result<Duration> {
    let listener = server.enter(|| TcpListener::bind(SocketAddr::new(address, 0)))?.context("listen")?;
    let target = listener.local_addr().context("ask for the listener's port")?;
    let near = client.enter(|| connect(target))??;
    let (far, _) = listener.accept().context("accept")?;
    set_deadline(&far)?;
    both_ways_on(&near, &far, bytes)
}

/// The same between the two ends of a connection, which ends with it.
pub fn both_ways_on(near: &TcpStream, far: &TcpStream, bytes: usize) -> Result<Duration> {
    let started = Instant::now();
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(far, bytes));
        let sent = send(near, bytes).and_then(|()| receive(near, bytes)).context("client");
        serving.join().unwrap_or_else(|panic| resume_unwind(panic)).context("server")?;
        sent
    })?;
    Ok(started.elapsed())
}

/// Connects within two seconds, with a deadline on everything after.
pub fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&target, Duration::from_secs(2)).with_context(|| format!("connect to {target}"))?;
    set_deadline(&stream)?;
    Ok(stream)
}

pub(super) fn set_deadline(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("set a deadline")?;
    stream.set_write_timeout(Some(Duration::from_secs(10))).context("set a deadline")
}

/// Sends so many bytes from one end of a connection to the other.
pub fn one_way_on(from: &TcpStream, to: &TcpStream, bytes: usize) -> Result<Duration> {
    let started = Instant::now();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(to, bytes));
        let sent = send(from, bytes).context("sender");
        receiving.join().unwrap_or_else(|panic| resume_unwind(panic)).context("receiver")?;
        sent
    })?;
    Ok(started.elapsed())
}

fn serve(stream: &TcpStream, bytes: usize) -> Result<()> {
    receive(stream, bytes)?;
    send(stream, bytes)?;
    stream.shutdown(Shutdown::Write).context("end the stream")
}

fn send(mut stream: &TcpStream, bytes: usize) -> Result<()> {
    let pattern = pattern();
    let mut done = 0;
    while done < bytes {
        let part = &pattern[done % pattern.len()..];
        let part = &part[..part.len().min(CHUNK).min(bytes - done)];
        stream.write_all(part).context("write")?;
        done += part.len();
    }
    Ok(())
}

fn receive(mut stream: &TcpStream, bytes: usize) -> Result<()> {
    let pattern = pattern();
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    while done < bytes {
        let expected = &pattern[done % pattern.len()..];
        let most = expected.len().min(CHUNK).min(bytes - done);
        let len = match stream.read(&mut chunk[..most]) {
            // With a deadline the kernel does not begin it anew by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.context("read")?,
        };
        ensure!(len > 0, "the stream ended after {done} of {bytes} bytes");
        ensure!(chunk[..len] == expected[..len], "wrong data within {len} bytes after byte {done}");
        done += len;
    }
    Ok(())
}

/// What is sent, over and over. Its length is a prime: a lost, doubled or moved segment shows.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let words = (0_u64..131_072).map(|number| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        words.flat_map(|word| (word ^ word >> 29).to_le_bytes()).take(1_048_573).collect()
    })
}
