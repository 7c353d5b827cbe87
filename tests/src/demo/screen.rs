//! What the demo prints: steps that tick off as they are done, with their time.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::site;

/// Standard output, with colours where someone sees them.
#[derive(Debug)]
pub(super) struct Screen {
    lively: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

/// Columns before the time of a step.
const WIDTH: usize = 68;

impl Screen {
    pub(super) fn new(plain: bool) -> Self {
        Self { lively: !plain && io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() }
    }

    fn paint(&self, colour: &str, text: impl Display) -> String {
        if self.lively { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Nobody may be looking any more: that is no reason to stop before everything is taken down.
    fn put(text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    pub(super) fn title(&self, text: &str) {
        Self::put(&format!("{}\n", self.paint(BOLD, text)));
    }

    pub(super) fn part(&self, text: &str) {
        Self::put(&format!("\n{}\n", self.paint(BOLD, text)));
    }

    pub(super) fn done(&self, text: &str) {
        Self::put(&format!("\n{}\n", self.paint(GREEN, text)));
    }

    /// Does a step and says how it went; its detail comes from the job.
    pub(super) fn step<T>(&self, what: &str, job: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        if self.lively {
            Self::put(&format!("  {} {what} ...", self.paint(CYAN, "·")));
        }
        let started = Instant::now();
        let outcome = job();
        let took = milliseconds(started.elapsed());
        let clear = if self.lively { "\r\x1b[2K" } else { "" };
        match outcome {
            Ok((value, detail)) => {
                let text = if detail.is_empty() { what.to_owned() } else { format!("{what}  {detail}") };
                let gap = " ".repeat(WIDTH.saturating_sub(text.chars().count()));
                let time = self.paint(DIM, format!("{took:>9}"));
                Self::put(&format!("{clear}  {} {text}{gap}{time}\n", self.paint(GREEN, "✓")));
                Ok(value)
            }
            Err(error) => {
                site::yield_to_signal();
                Self::put(&format!("{clear}  {} {what}\n", self.paint(RED, "✗")));
                Err(error)
            }
        }
    }

    /// A command and what it printed.
    pub(super) fn command(&self, shown: &str, output: &str) {
        Self::put(&format!("\n  {}\n", self.paint(CYAN, format!("$ {shown}"))));
        for line in output.trim_end().lines() {
            Self::put(&format!("    {}\n", line.trim_end()));
        }
    }

    /// A command to type, and what for.
    pub(super) fn hint(&self, command: &str, purpose: &str) {
        Self::put(&format!("  {}\n  {}\n", self.paint(DIM, format!("# {purpose}")), self.paint(CYAN, command)));
    }
}

/// With three digits that count.
fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..1.0 => format!("{ms:.3} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}
