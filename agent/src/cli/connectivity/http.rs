//! As much of HTTP/1.1 as probes and questions need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::error::ConnectivityError;

/// Longest head that is read, in bytes.
const HEAD_MAX: u64 = 16 * 1024;

/// How long a connection may take to come about, and each read and write on it.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// First line and length of the body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first: String,
    pub(super) length: u64,
}

impl Head {
    /// Reads up to the empty line, and not a byte of the body.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut lines = from.take(HEAD_MAX);
        let mut head = Self::default();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(head);
            }
            if head.first.is_empty() {
                line.clone_into(&mut head.first);
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                head.length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
    }
}

/// A connection on which a request has been sent, and then nothing else.
pub(super) fn request(
    server: SocketAddr,
    patience: Duration,
    first: &str,
    length: u64,
) -> Result<TcpStream, ConnectivityError> {
    let mut stream =
        TcpStream::connect_timeout(&server, patience).map_err(ConnectivityError::io("connect to", server))?;
    let mut send = || -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let head = format!("{first} HTTP/1.1\r\nhost: weft\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())
    };
    send().map_err(ConnectivityError::io("ask", server))?;
    Ok(stream)
}

/// The head of the answer, which has to be a good one, and where its body begins.
pub(super) fn answer(server: SocketAddr, stream: TcpStream) -> Result<(Head, BufReader<TcpStream>), ConnectivityError> {
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader).map_err(ConnectivityError::io("read the answer of", server))?;
    if head.first.split(' ').nth(1) != Some("200") {
        return Err(ConnectivityError::Answer { with: server.to_string(), got: head.first, wanted: "HTTP status 200" });
    }
    Ok((head, reader))
}

/// The answer's body as text.
pub(super) fn text(server: SocketAddr, stream: TcpStream) -> Result<String, ConnectivityError> {
    let (head, reader) = answer(server, stream)?;
    let mut text = String::new();
    reader
        .take(head.length.min(HEAD_MAX))
        .read_to_string(&mut text)
        .map_err(ConnectivityError::io("read the answer of", server))?;
    Ok(text)
}

/// A good answer, whole.
pub(super) fn reply(to: &mut impl Write, body: &str) -> io::Result<()> {
    head(to, body.len() as u64)?;
    to.write_all(body.as_bytes())
}

/// The head of a good answer.
pub(super) fn head(to: &mut impl Write, length: u64) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_where_the_body_begins() {
        let mut text = &b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"[..];
        let head = Head::read(&mut text).unwrap();
        assert_eq!(head, Head { first: "POST /take HTTP/1.1".into(), length: 3 });
        assert_eq!(text, b"abc");
        assert!(Head::read(&mut &b"GET / HTTP/1.1\r\nhost"[..]).is_err(), "cut off");
        assert!(Head::read(&mut &b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"[..]).is_err());
    }
}
