//! Packets as large as they may be, and many of them.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use crate::connectivity::{Echo, Transfer, Transferred};

use super::error::ConnectivityError;
use super::who::millis;
use super::{exchange, http, target};

/// Bytes that a datagram begins with when it is to come back.
pub(super) const WORD: &[u8] = b"echo";

/// Where the pod's MTU is read.
const MTU: &str = "/sys/class/net/eth0/mtu";

/// What is sent and read at once.
const PIECE: usize = 16 * 1024;

pub(super) fn echo(question: &Echo) -> Result<Vec<u16>, ConnectivityError> {
    let server = target::find(&question.to)?;
    let socket = exchange::towards(server, http::PATIENCE)?;
    let mut room = vec![0; exchange::LARGEST];
    let mut whole = Vec::new();
    for size in &question.sizes {
        let size = if *size == 0 { fills_a_packet(server)? } else { *size };
        let mut payload = pattern(0, usize::from(size));
        for (to, from) in payload.iter_mut().zip(WORD) {
            *to = *from;
        }
        let back = exchange::ask(&socket, server, &payload, &mut room)?;
        if let Some(at) = difference(&payload, back) {
            return Err(ConnectivityError::Altered { with: server.to_string(), at });
        }
        whole.push(size);
    }
    Ok(whole)
}

/// The payload of a UDP packet as large as the pod's MTU.
fn fills_a_packet(server: SocketAddr) -> Result<u16, ConnectivityError> {
    let read = || fs::read_to_string(MTU)?.trim().parse::<u16>().map_err(io::Error::other);
    let mtu = read().map_err(ConnectivityError::io("read", MTU))?;
    Ok(mtu.saturating_sub(if server.is_ipv4() { 28 } else { 48 }))
}

/// The first place where two texts differ, the end of the shorter one among them.
fn difference(sent: &[u8], got: &[u8]) -> Option<u64> {
    let at = sent.iter().zip(got).position(|(sent, got)| sent != got);
    let end = (sent.len() != got.len()).then(|| sent.len().min(got.len()));
    at.or(end).map(|at| at as u64)
}

pub(super) fn transfer(question: &Transfer) -> Result<Transferred, ConnectivityError> {
    let server = target::find(&question.to)?;
    let started = Instant::now();
    let mut stream = http::request(server, http::PATIENCE, "POST /take", question.bytes)?;
    give(&mut stream, question.bytes).map_err(ConnectivityError::io("send to", server))?;
    let told = http::text(server, stream)?;
    if told != question.bytes.to_string() {
        let with = server.to_string();
        return Err(ConnectivityError::Answer { with, got: told, wanted: "the number of bytes that it was sent" });
    }
    let out_ms = millis(started.elapsed());
    let started = Instant::now();
    let stream = http::request(server, http::PATIENCE, &format!("GET /give/{}", question.bytes), 0)?;
    let (head, mut reader) = http::answer(server, stream)?;
    let wrong = take(&mut reader, head.length).map_err(ConnectivityError::io("read from", server))?;
    if let Some(at) = wrong.or((head.length != question.bytes).then_some(head.length)) {
        return Err(ConnectivityError::Altered { with: server.to_string(), at });
    }
    Ok(Transferred { out_ms, in_ms: millis(started.elapsed()) })
}

/// Bytes that tell their place.
fn pattern(from: u64, length: usize) -> Vec<u8> {
    let byte = |at: u64| u8::try_from(at % 251).unwrap_or_default();
    (from..).take(length).map(byte).collect()
}

/// Sends that many bytes of the pattern.
pub(super) fn give(to: &mut impl Write, bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let piece = pattern(at, piece(bytes - at));
        to.write_all(&piece)?;
        at += piece.len() as u64;
    }
    to.flush()
}

/// Reads that many bytes, and says where the first wrong one is.
pub(super) fn take(from: &mut impl Read, bytes: u64) -> io::Result<Option<u64>> {
    let (mut at, mut wrong) = (0, None);
    let mut room = vec![0; PIECE];
    while at < bytes {
        let room = &mut room[..piece(bytes - at)];
        from.read_exact(room)?;
        wrong = wrong.or_else(|| difference(&pattern(at, room.len()), room).map(|offset| at + offset));
        at += room.len() as u64;
    }
    Ok(wrong)
}

fn piece(left: u64) -> usize {
    usize::try_from(left).unwrap_or(PIECE).min(PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_altered_or_cut_off_is_noticed() {
        let mut bytes = Vec::new();
        give(&mut bytes, 40_000).unwrap();
        assert_eq!(take(&mut bytes.as_slice(), 40_000).unwrap(), None);
        bytes[33_333] ^= 1;
        assert_eq!(take(&mut bytes.as_slice(), 40_000).unwrap(), Some(33_333));
        assert!(take(&mut &bytes[..39_999], 40_000).is_err());
        assert_eq!(difference(b"abc", b"ab"), Some(2));
    }
}
