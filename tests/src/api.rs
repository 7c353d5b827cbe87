//! The agent's socket as any HTTP client sees it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::wait;

/// An answer of the agent.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body; null when it is empty.
    pub json: Value,
}

/// One request on a connection of its own.
pub fn request(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n");
    let typed = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(wait::patience(Duration::from_secs(30)))).context("set a deadline")?;
    stream.write_all([head, typed, body].concat().as_bytes()).context("send a request")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).context("read a reply")?;
    parse(&reply).with_context(|| format!("{method} {path}: {reply:?}"))
}

fn parse(reply: &str) -> Result<Reply> {
    let (head, body) = reply.split_once("\r\n\r\n").context("the reply has no end of headers")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the reply has no status")?;
    ensure!(!head.to_lowercase().contains("transfer-encoding: chunked"), "a chunked reply where a length was due");
    let json = if body.is_empty() { Value::Null } else { serde_json::from_str(body).context("the body is no JSON")? };
    Ok(Reply { status, json })
}
