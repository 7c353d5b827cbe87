//! Waiting for what another process does in its own time.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A limit for what a process does in its own time; `WEFT_PATIENCE` times as long where processors are emulated.
pub fn patience(limit: Duration) -> Duration {
    let factor = env::var("WEFT_PATIENCE").ok().and_then(|text| text.parse::<u32>().ok());
    limit * factor.unwrap_or(1)
}

/// Asks every 10 ms until the answer is yes; an error is a no that is told if there is never a yes.
pub fn until(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let answer = ask();
        if matches!(answer, Ok(true)) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > limit {
            answer.with_context(|| format!("not within {limit:?}: {what}"))?;
            bail!("not within {limit:?}: {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
