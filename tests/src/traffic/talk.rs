//! A TCP connection on which two ends talk until they are told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

/// Both ends of a connection at work.
#[derive(Debug)]
pub struct Talk {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Result<Report>>,
    answering: JoinHandle<Result<()>>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Questions, each answered.
    pub rounds: u64,
    /// The longest that an answer took.
    pub slowest: Duration,
}

/// Bytes of a question: its number.
const WORD: usize = 8;

impl Talk {
    /// Asks by one end every millisecond and answers by the other.
    pub fn start(near: TcpStream, far: TcpStream) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        Self { stop, asking: thread::spawn(move || ask(near, &seen)), answering: thread::spawn(move || answer(far)) }
    }

    /// Fails unless every question was answered in order, and there was one.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        let report = self.asking.join().map_err(|_| anyhow!("the asking end panicked"))??;
        self.answering.join().map_err(|_| anyhow!("the answering end panicked"))??;
        Ok(report)
    }
}

fn ask(mut near: TcpStream, stop: &AtomicBool) -> Result<Report> {
    near.set_nodelay(true).context("send at once")?;
    let mut report = Report { rounds: 0, slowest: Duration::ZERO };
    // Once at least, however soon it is told to stop.
    while report.rounds == 0 || !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        near.write_all(&report.rounds.to_be_bytes()).context("ask")?;
        let mut word = [0; WORD];
        near.read_exact(&mut word).with_context(|| format!("no answer to question {}", report.rounds))?;
        ensure!(u64::from_be_bytes(word) == report.rounds, "another answer to question {}", report.rounds);
        report.slowest = report.slowest.max(asked.elapsed());
        report.rounds += 1;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(report)
}

fn answer(mut far: TcpStream) -> Result<()> {
    far.set_nodelay(true).context("send at once")?;
    let mut word = [0; WORD];
    loop {
        match far.read(&mut word).context("wait for a question")? {
            0 => return Ok(()),
            len => far.read_exact(&mut word[len..]).context("read a question")?,
        }
        far.write_all(&word).context("answer")?;
    }
}
