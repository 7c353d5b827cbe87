//! An agent for tests: a thread on a socket in a directory of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::Client;

/// An agent that says exactly what a test wants.
pub(crate) struct Agent {
    dir: TempDir,
    thread: JoinHandle<Vec<String>>,
}

impl Agent {
    /// Answers each connection's requests with the texts of its list, in order, and closes it then.
    pub(crate) fn saying(connections: Vec<Vec<Vec<u8>>>) -> Self {
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join("agent.sock")).unwrap();
        let thread = thread::spawn(move || {
            let mut heard = Vec::new();
            for answers in connections {
                let mut stream = listener.accept().unwrap().0;
                for answer in answers {
                    heard.push(hear(&mut stream));
                    stream.write_all(&answer).unwrap();
                }
            }
            heard
        });
        Self { dir, thread }
    }

    pub(crate) fn once(answer: &str) -> Self {
        Self::saying(vec![vec![answer.into()]])
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.socket())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// What it was asked, once it has said everything.
    pub(crate) fn heard(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

/// One request: its head, and its body by `Content-Length`.
fn hear(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    let head = String::from_utf8(text.clone()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// An answer with its length.
pub(crate) fn with_length(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}
