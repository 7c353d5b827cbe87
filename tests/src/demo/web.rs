//! The smallest web server and its client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::traffic::stream;

/// Where pages are served.
pub const PORT: u16 = 80;

/// Serves one page to everybody, on both families, until the process ends; `{}` in it becomes the client's address.
pub fn serve(page: &str) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT)).context("listen")?;
    for stream in listener.incoming() {
        // One guest that hangs up early is no reason to close.
        let _ = stream.map_err(anyhow::Error::from).and_then(|stream| answer(&stream, page));
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, page: &str) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut lines = BufReader::new(stream).lines();
    while !lines.next().context("a request without end")??.is_empty() {}
    let page = page.replace("{}", &stream.peer_addr().context("ask who it is")?.ip().to_canonical().to_string());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", page.len());
    stream.write_all([head.as_str(), &page].concat().as_bytes()).context("answer")
}

/// Fetches the page of a server.
fn fetch(from: SocketAddr) -> Result<String> {
    let mut stream = stream::connect(from)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").context("ask")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).context("read the answer")?;
    let (head, body) = reply.split_once("\r\n\r\n").context("an answer without end of headers")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "the server answered {head:?}");
    Ok(body.to_owned())
}

/// The same inside a namespace, from a server that has only just been started.
pub(super) fn fetch_soon(client: &Netns, from: SocketAddr) -> Result<String> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let page = client.enter(|| fetch(from))?;
        if page.is_ok() || Instant::now() > until {
            return page;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
