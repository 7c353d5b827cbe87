//! A unix stream on which every read and write ends at a deadline.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::TimeVal;

use crate::client::ClientError;

/// A connection to the agent.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    deadline: Option<Instant>,
}

impl Connection {
    /// Connects. The wait for an agent whose queue is full ends at the deadline, too.
    pub(super) fn open(path: &Path, deadline: Instant) -> Result<Self, ClientError> {
        let failed = |error: io::Error| {
            let (socket, source) = (path.to_owned(), error);
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => {
                    ClientError::Away { socket, source }
                }
                _ => ClientError::Connect { socket, source },
            }
        };
        let stream =
            connect_within(path, remaining(deadline).map_err(failed)?).map_err(|errno| failed(errno.into()))?;
        Ok(Self { stream, deadline: Some(deadline) })
    }

    /// Bounds what follows.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Lets reads wait for as long as it takes.
    pub(super) fn lift_deadline(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.stream.set_read_timeout(None)
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(deadline) = self.deadline {
            self.stream.set_write_timeout(Some(remaining(deadline)?))?;
        }
        self.stream.write_all(bytes)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            self.stream.set_read_timeout(Some(remaining(deadline)?))?;
        }
        self.stream.read(buffer)
    }
}

/// The standard library's `connect` knows no deadline; the kernel's honours the socket's send timeout.
fn connect_within(path: &Path, within: Duration) -> nix::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    setsockopt(&socket, SendTimeout, &TimeVal::new(seconds, within.subsec_micros().into()))?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A zero timeout would mean none at all.
    if left < Duration::from_micros(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
