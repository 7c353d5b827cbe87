//! Who answers, and whom it saw asking.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::connectivity::{Seen, Transport, Who, Witness};

use super::error::ConnectivityError;
use super::{exchange, http, target};

/// Pause between two attempts.
const PACE: Duration = Duration::from_millis(5);

/// What a datagram asks.
pub(super) const WORD: &[u8] = b"who";

pub(super) fn ask(question: &Who, started: Instant) -> Result<Seen, ConnectivityError> {
    let forgiving = Instant::now() + Duration::from_millis(question.patience_ms);
    let mut seen = Seen::default();
    for _ in 0..question.times.max(1) {
        let witness = loop {
            let asked = Instant::now();
            let first = seen.by.is_empty();
            seen.tries += u32::from(first);
            match once(question) {
                Ok(witness) => {
                    seen.slowest_ms = seen.slowest_ms.max(millis(asked.elapsed()));
                    if first {
                        seen.start_to_answer_ms = millis(started.elapsed());
                    }
                    break witness;
                }
                Err(_) if first && Instant::now() < forgiving => thread::sleep(PACE),
                Err(error) => return Err(error),
            }
        };
        let same = |known: &&mut Witness| {
            known.pod == witness.pod && known.node == witness.node && known.client == witness.client
        };
        match seen.by.iter_mut().find(same) {
            Some(known) => known.times += 1,
            None => seen.by.push(Witness { times: 1, ..witness }),
        }
    }
    Ok(seen)
}

fn once(question: &Who) -> Result<Witness, ConnectivityError> {
    let server = target::find(&question.to)?;
    let patience = if question.patience_ms > 0 { Duration::from_secs(1) } else { http::PATIENCE };
    let json = match question.over {
        Transport::Tcp => http::text(server, http::request(server, patience, "GET /who", 0)?)?.into_bytes(),
        Transport::Udp => datagram(server, patience)?,
    };
    serde_json::from_slice(&json).map_err(|source| ConnectivityError::Decode { with: server.to_string(), source })
}

fn datagram(server: SocketAddr, patience: Duration) -> Result<Vec<u8>, ConnectivityError> {
    let socket = exchange::towards(server, patience)?;
    let mut room = [0; 1024];
    exchange::ask(&socket, server, WORD, &mut room).map(<[u8]>::to_vec)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
