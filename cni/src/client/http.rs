//! HTTP/1.1 as far as the agent speaks it: RFC 9112, messages with `Content-Length`, chunks, or until the close.

use std::io::{self, BufRead, BufReader, Read};

use crate::client::connection::Connection;

/// Bytes of a response's head, or of one line of chunked framing, at most.
const HEAD_LIMIT: usize = 16 << 10;
/// Bytes of an answer that is read whole, at most: a dump of the largest map is below.
const BODY_LIMIT: u64 = 256 << 20;

/// A request in one piece.
pub(super) fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: weft\r\n").into_bytes();
    if !body.is_empty() {
        let length = format!("Content-Length: {}\r\n", body.len());
        request.extend([b"Content-Type: application/json\r\n", length.as_bytes()].concat());
    }
    request.extend([b"\r\n", body].concat());
    request
}

/// A response whose head has been read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    body: Body,
    keep_alive: bool,
}

/// A response's body, freed of its framing.
#[derive(Debug)]
pub(super) struct Body {
    source: BufReader<Connection>,
    left: Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of this chunk and its line end, then more chunks.
    Chunk(u64),
    /// The next chunk's size comes first.
    ChunkSize,
    /// All until the connection is closed.
    UntilClose,
}

impl Response {
    /// Reads the head.
    pub(super) fn read(connection: Connection) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(HEAD_LIMIT, connection);
        loop {
            let head = read_head(&mut source)?;
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Response::new(&mut headers);
            parsed.parse(&head).map_err(invalid)?;
            let status = parsed.code.unwrap_or_default();
            // An interim answer announces the real one.
            if (100..200).contains(&status) {
                continue;
            }
            let left = framing(status, parsed.headers)?;
            let closes = header(parsed.headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
            let keep_alive = !closes && left != Left::UntilClose;
            return Ok(Self { status, body: Body { source, left }, keep_alive });
        }
    }

    /// Reads the whole body.
    pub(super) fn read_body(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Read::take(&mut self.body, BODY_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BODY_LIMIT { Err(invalid("the body is too long")) } else { Ok(bytes) }
    }

    /// The body, to be read as it comes, without a deadline.
    pub(super) fn into_stream(mut self) -> io::Result<Body> {
        self.body.source.get_mut().lift_deadline()?;
        Ok(self.body)
    }

    /// The connection, if another request may follow.
    pub(super) fn into_idle(self) -> Option<Connection> {
        let reusable = self.keep_alive && self.body.left == Left::Bytes(0) && self.body.source.buffer().is_empty();
        reusable.then(|| self.body.source.into_inner())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.left {
                Left::Bytes(0) => return Ok(0),
                Left::Bytes(left) => {
                    let read = read_some(&mut self.source, buffer, left)?;
                    self.left = Left::Bytes(left - read as u64);
                    return Ok(read);
                }
                Left::Chunk(0) => {
                    read_line(&mut self.source)?;
                    self.left = Left::ChunkSize;
                }
                Left::Chunk(left) => {
                    let read = read_some(&mut self.source, buffer, left)?;
                    self.left = Left::Chunk(left - read as u64);
                    return Ok(read);
                }
                Left::ChunkSize => {
                    self.left = match chunk_size(&read_line(&mut self.source)?)? {
                        0 => {
                            // Trailers, if any, and the empty line that ends the body.
                            while !read_line(&mut self.source)?.is_empty() {}
                            Left::Bytes(0)
                        }
                        size => Left::Chunk(size),
                    };
                }
                Left::UntilClose => return self.source.read(buffer),
            }
        }
    }
}

fn framing(status: u16, headers: &[httparse::Header<'_>]) -> io::Result<Left> {
    if matches!(status, 204 | 304) {
        return Ok(Left::Bytes(0));
    }
    if header(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
        return Ok(Left::ChunkSize);
    }
    let Some(length) = header(headers, "content-length") else { return Ok(Left::UntilClose) };
    let length = std::str::from_utf8(length).map_err(invalid)?.trim();
    Ok(Left::Bytes(length.parse().map_err(invalid)?))
}

fn header<'a>(headers: &'a [httparse::Header<'_>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Size of a chunk in hexadecimal; extensions after a semicolon are ignored.
fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(line).map_err(invalid)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(invalid)
}

/// At least one byte and at most `left`: the end of the connection is an error before they are all there.
fn read_some(source: &mut impl Read, buffer: &mut [u8], left: u64) -> io::Result<usize> {
    let read = source.take(left).read(buffer)?;
    if read == 0 && !buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
}

/// Everything up to the empty line. A connection that was closed before the first byte was lost, not cut short.
fn read_head(source: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        source.take((HEAD_LIMIT - before) as u64).read_until(b'\n', &mut head)?;
        match &head[before..] {
            [] if head.is_empty() => return Err(io::ErrorKind::ConnectionReset.into()),
            b"\r\n" | b"\n" => return Ok(head),
            line if line.ends_with(b"\n") && head.len() < HEAD_LIMIT => {}
            _ if head.len() >= HEAD_LIMIT => return Err(invalid("the head is too long")),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn read_line(source: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    source.take(HEAD_LIMIT as u64).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.pop_if(|last| *last == b'\r');
    Ok(line)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
