//! How fast bytes flow, by the clock of who receives them.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::connectivity::{Rate, Way};

use super::error::ConnectivityError;
use super::{http, target};

/// What is written at once: little, so that a slow flow is told to end soon.
const PIECE: usize = 4096;

/// How long the last bytes of a slow flow may take to arrive.
const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn measure(question: &Rate) -> Result<Vec<u64>, ConnectivityError> {
    let server = target::find(&question.to)?;
    let time = Duration::from_secs(question.seconds.into());
    match question.way {
        Way::In => {
            let stream = http::request(server, DRAIN, &format!("GET /flood/{}", question.seconds), 0)?;
            let (_, mut reader) = http::answer(server, stream)?;
            count(&mut reader).map_err(ConnectivityError::io("read from", server))
        }
        Way::Out => {
            let mut stream = http::request(server, DRAIN, "POST /count", u64::MAX)?;
            let sent = flood(&mut stream, time).and_then(|()| stream.shutdown(Shutdown::Write));
            sent.map_err(ConnectivityError::io("send to", server))?;
            let told = http::text(server, stream)?;
            serde_json::from_str(&told).map_err(|source| ConnectivityError::Decode { with: server.to_string(), source })
        }
    }
}

/// Sends as fast as it goes, for that long.
pub(super) fn flood(to: &mut impl Write, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    let piece = [0; PIECE];
    while Instant::now() < until {
        to.write_all(&piece)?;
    }
    Ok(())
}

/// Kilobits of each whole second up to the end.
pub(super) fn count(from: &mut impl Read) -> io::Result<Vec<u64>> {
    let mut seconds = Seconds::default();
    let started = Instant::now();
    let mut room = vec![0; 64 * 1024];
    loop {
        match from.read(&mut room)? {
            0 => return Ok(seconds.kilobits(started.elapsed())),
            bytes => seconds.add(started.elapsed(), bytes as u64),
        }
    }
}

/// Bytes by the second in which they came.
#[derive(Debug, Default)]
struct Seconds(Vec<u64>);

impl Seconds {
    fn add(&mut self, at: Duration, bytes: u64) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if second >= self.0.len() {
            self.0.resize(second + 1, 0);
        }
        self.0[second] += bytes;
    }

    /// Without the last second, which is not over.
    fn kilobits(mut self, end: Duration) -> Vec<u64> {
        self.0.resize(usize::try_from(end.as_secs()).unwrap_or(usize::MAX), 0);
        self.0.into_iter().map(|bytes| bytes * 8 / 1000).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_count() {
        let mut seconds = Seconds::default();
        seconds.add(Duration::from_millis(100), 1000);
        seconds.add(Duration::from_millis(2900), 2000);
        seconds.add(Duration::from_millis(3100), 9000);
        assert_eq!(seconds.kilobits(Duration::from_millis(3200)), [8, 0, 16]);
    }
}
