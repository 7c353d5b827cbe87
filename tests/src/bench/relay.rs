//! A socket between plugin and agent that notes when requests and replies pass.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// One request and its reply, as they passed.
#[derive(Debug)]
pub(super) struct Exchange {
    /// `POST`, `PUT` or `DELETE`.
    pub(super) method: String,
    /// When the request had come from the plugin.
    pub(super) asked: Instant,
    /// When the reply had come from the agent.
    pub(super) answered: Instant,
}

/// Runs a job while requests that come to `socket` are passed on to the agent's.
pub(super) fn watch<T>(socket: &Path, agent: &Path, job: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Exchange>)> {
    let listener = UnixListener::bind(socket).context("listen between plugin and agent")?;
    let (result, exchanges) = thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener, agent));
        let result = job();
        // An empty connection says that no other one will come.
        let ended = UnixStream::connect(socket).context("end the relay").map(drop);
        let exchanges = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (result.and_then(|result| ended.map(|()| result)), exchanges)
    });
    std::fs::remove_file(socket).context("remove the relay's socket")?;
    Ok((result?, exchanges?))
}

/// Serves one connection after another until one comes without a request.
fn serve(listener: &UnixListener, agent: &Path) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    loop {
        let (mut plugin, _) = listener.accept().context("accept the plugin's connection")?;
        plugin.set_read_timeout(Some(Duration::from_secs(20))).context("set a deadline")?;
        let before = exchanges.len();
        let mut upstream: Option<UnixStream> = None;
        while let Some(request) = message(&mut plugin)? {
            let asked = Instant::now();
            let stream = match &mut upstream {
                Some(stream) => stream,
                none => none.insert(UnixStream::connect(agent).context("connect to the agent")?),
            };
            stream.write_all(&request).context("pass a request on")?;
            let reply = message(stream)?.context("the agent closed the connection before its reply")?;
            let answered = Instant::now();
            plugin.write_all(&reply).context("pass a reply on")?;
            let text = String::from_utf8_lossy(&request);
            let method = text.split(' ').next().unwrap_or_default().to_owned();
            exchanges.push(Exchange { method, asked, answered });
        }
        if exchanges.len() == before {
            return Ok(exchanges);
        }
    }
}

/// One HTTP/1.1 message with its body; `None` when the connection ends before it.
fn message(stream: &mut UnixStream) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let len = match stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            other => other.context("read between plugin and agent")?,
        };
        if len == 0 {
            ensure!(bytes.is_empty(), "a connection ended in the middle of a message");
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..len]);
        if is_whole(&bytes) {
            return Ok(Some(bytes));
        }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
    length.parse::<usize>().is_ok_and(|length| body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_with_its_body() {
        assert!(!is_whole(b"GET / HTTP/1.1\r\nHost: weft\r\n"));
        assert!(is_whole(b"DELETE /x HTTP/1.1\r\nHost: weft\r\n\r\n"));
        assert!(!is_whole(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}"));
        assert!(is_whole(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"));
    }
}
