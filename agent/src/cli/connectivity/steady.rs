//! A connection and datagrams that go on, message by message, until somebody ends them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::connectivity::{Finish, Stream, Streamed};

use super::error::ConnectivityError;
use super::who::millis;
use super::{exchange, http, large, target};

/// Pause between two messages.
const PACE: Duration = Duration::from_millis(10);

/// How long a message may take before the connection counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a datagram may take before it counts as lost.
const LOST: Duration = Duration::from_secs(1);

/// What the server puts behind a message once it has been told to finish.
pub(super) const END: &str = " end";

pub(super) fn talk(question: &Stream) -> Result<Streamed, ConnectivityError> {
    let server = target::find(&question.to)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let datagrams = scope.spawn(|| datagrams(server, &over));
        let messages = messages(server, question.seconds);
        over.store(true, Ordering::Relaxed);
        let datagrams = datagrams.join().unwrap_or_else(|_| Ok(Streamed::default()))?;
        let messages = messages?;
        Ok(Streamed { datagrams: datagrams.datagrams, lost: datagrams.lost, ..messages })
    })
}

fn messages(server: SocketAddr, seconds: u32) -> Result<Streamed, ConnectivityError> {
    let stream = http::request(server, PATIENCE, "POST /echo", u64::MAX)?;
    let (_, mut reader) = http::answer(server, stream)?;
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let mut told = Streamed::default();
    while Instant::now() < until {
        let sent = Instant::now();
        let line = exchange_line(&mut reader, told.messages).map_err(|source| ConnectivityError::Broke {
            with: server.to_string(),
            messages: told.messages,
            source,
        })?;
        told.longest_ms = told.longest_ms.max(millis(sent.elapsed()));
        let number = told.messages.to_string();
        told.messages += 1;
        match line.strip_prefix(&number) {
            Some("") => thread::sleep(PACE),
            Some(END) => return Ok(told),
            _ => {
                let with = server.to_string();
                return Err(ConnectivityError::Answer { with, got: line, wanted: "the message that it was sent" });
            }
        }
    }
    Err(ConnectivityError::Endless { with: server.to_string(), seconds })
}

fn exchange_line(reader: &mut BufReader<TcpStream>, number: u64) -> io::Result<String> {
    reader.get_mut().write_all(format!("{number}\n").as_bytes())?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.len() - 1);
    Ok(line)
}

/// One after the other; what comes late is not taken for the answer of a later one.
fn datagrams(server: SocketAddr, over: &AtomicBool) -> Result<Streamed, ConnectivityError> {
    let socket = exchange::towards(server, LOST)?;
    let mut told = Streamed::default();
    let mut room = [0; 64];
    while !over.load(Ordering::Relaxed) {
        let mut payload = large::WORD.to_vec();
        payload.extend_from_slice(&told.datagrams.to_be_bytes());
        told.datagrams += 1;
        let until = Instant::now() + LOST;
        let mut answer = exchange::ask(&socket, server, &payload, &mut room).map(<[u8]>::to_vec);
        while matches!(&answer, Ok(got) if *got != payload) && Instant::now() < until {
            let length = socket.recv(&mut room).map_err(ConnectivityError::io("get a datagram from", server));
            answer = length.map(|length| room.get(..length).unwrap_or_default().to_vec());
        }
        told.lost += u64::from(!matches!(&answer, Ok(got) if *got == payload));
        thread::sleep(PACE);
    }
    Ok(told)
}

pub(super) fn finish(question: &Finish) -> Result<(), ConnectivityError> {
    let server = target::find(&question.to)?;
    http::text(server, http::request(server, http::PATIENCE, "POST /finish", 0)?).map(drop)
}
