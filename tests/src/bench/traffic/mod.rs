//! The two ends of a measured path, each a process of its own as in pods.

mod tcp;
mod udp;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What passes between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One byte there, one byte back, over one TCP connection
    RoundTrips,
    /// As many bytes as one TCP connection takes
    Stream,
    /// 64-byte datagrams
    Datagrams,
}

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Waits for the client
    Server,
    /// Begins, and ends after its time
    Client,
}

/// One end: what it is told.
#[derive(Debug, Args)]
pub struct End {
    /// Which of the two
    pub side: Side,
    /// What passes
    pub kind: Kind,
    /// Where the server listens
    pub address: SocketAddr,
    /// Processor that this end stays on
    pub cpu: usize,
    /// How long the client sends, in milliseconds
    pub millis: u64,
}

/// What an end prints when it is through.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Round trips: the median in microseconds. Stream: Gbit/s that came. Datagrams: how many came, or went, a second.
    pub value: f64,
}

/// Longer than any measurement: an end whose other end is gone does not stay.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs one end of a path and prints its outcome.
pub fn run(end: &End) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        process::exit(1);
    });
    let mut cpus = CpuSet::new();
    cpus.set(end.cpu).context("no such processor")?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on one processor")?;
    let time = Duration::from_millis(end.millis);
    let value = match (end.kind, end.side) {
        (Kind::RoundTrips, Side::Server) => tcp::answer(end.address)?,
        (Kind::RoundTrips, Side::Client) => tcp::ask(end.address, time)?,
        (Kind::Stream, Side::Server) => tcp::drain(end.address)?,
        (Kind::Stream, Side::Client) => tcp::pour(end.address, time)?,
        (Kind::Datagrams, Side::Server) => udp::count(end.address)?,
        (Kind::Datagrams, Side::Client) => udp::send(end.address, time)?,
    };
    say(&serde_json::to_string(&Outcome { value })?)
}

/// What a server says once a client may begin.
pub const READY: &str = "ready";

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print a line")
}
