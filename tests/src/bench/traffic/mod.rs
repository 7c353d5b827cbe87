//! The two ends of several ways, in turns of a few milliseconds: whatever else the machine does meets all of them alike.
//!
//! The ends are processes of their own, as in pods. Each has a socket in the namespace of every way's pod.

mod tcp;
mod udp;

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::unistd::Pid;

use super::statistics::turns;

/// What passes between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One byte there, one byte back, over one TCP connection
    RoundTrips,
    /// As many bytes as one TCP connection takes
    Stream,
    /// Datagrams of 64 bytes
    Datagrams,
    /// One TCP connection after another, with one byte there and one back
    Connections,
}

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Answers until its standard input ends
    Server,
    /// Begins, and prints what it measured on each way: a list of numbers a way
    Client,
}

/// One end: what it is told.
#[derive(Debug, Args)]
pub struct End {
    /// Which of the two
    pub side: Side,
    /// What passes
    pub kind: Kind,
    /// Processor that this end stays on
    pub cpu: usize,
    /// How long the client sends, in milliseconds
    pub millis: u64,
    /// Namespace of this end and address of the server, on each way
    pub ways: Vec<Way>,
}

/// A way as one end sees it: `/run/netns/name=10.0.0.1:7007`.
#[derive(Clone, Debug)]
pub struct Way {
    /// Namespace of this end.
    pub netns: PathBuf,
    /// Where the server listens.
    pub server: SocketAddr,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.netns.display(), self.server)
    }
}

impl FromStr for Way {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (netns, server) = text.split_once('=').context("no = in a way")?;
        Ok(Self { netns: netns.into(), server: server.parse().context("no address and port behind =")? })
    }
}

/// A client's end of one way.
trait Client {
    /// Sends for a few milliseconds. Round trips: the median in microseconds. Stream: Gbit/s. Datagrams: thousands a
    /// second. Connections: so many a second. What was sent counts when it has arrived.
    fn turn(&mut self) -> Result<f64>;
}

/// A server's end of one way, listening: answers until the client goes.
type Server = Box<dyn FnOnce() -> Result<Infallible> + Send>;

/// What a server says once clients may begin.
pub const READY: &str = "ready";

/// An answer that takes longer will not come.
const DEADLINE: Duration = Duration::from_secs(5);

/// Runs one end.
pub fn run(end: &End) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(end.cpu).context("no such processor")?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on one processor")?;
    match end.side {
        Side::Server => serve(end),
        Side::Client => measure(end),
    }
}

fn serve(end: &End) -> Result<()> {
    for Way { netns, server } in &end.ways {
        let serving = within(netns, || match end.kind {
            Kind::RoundTrips => tcp::echo(*server),
            Kind::Stream => tcp::drain(*server),
            Kind::Datagrams => udp::count(*server),
            Kind::Connections => tcp::greet(*server),
        })?;
        // It ends with its client, which knows better whether that was too early.
        thread::spawn(serving);
    }
    say(READY)?;
    io::stdin().read_to_end(&mut Vec::new()).context("wait for the end")?;
    Ok(())
}

fn measure(end: &End) -> Result<()> {
    let connect = |Way { netns, server }: &Way| {
        within(netns, || -> Result<Box<dyn Client + Send>> {
            Ok(match end.kind {
                Kind::RoundTrips => Box::new(tcp::RoundTrips::connect(*server)?),
                Kind::Stream => Box::new(tcp::Stream::connect(*server)?),
                Kind::Datagrams => Box::new(udp::Datagrams::connect(*server)?),
                Kind::Connections => Box::new(tcp::Connections::to(netns, *server)?),
            })
        })
    };
    let mut clients = end.ways.iter().map(connect).collect::<Result<Vec<_>>>()?;
    // The first turns resolve neighbours, open windows and fill caches.
    for client in &mut clients {
        client.turn()?;
    }
    let mut measured = vec![Vec::new(); clients.len()];
    let (started, time) = (Instant::now(), Duration::from_millis(end.millis));
    for round in 0.. {
        if started.elapsed() >= time {
            break;
        }
        for index in turns(round, clients.len()) {
            measured[index].push(clients[index].turn()?);
        }
    }
    say(&serde_json::to_string(&measured)?)
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print a line")
}

/// Runs a job inside a network namespace, on a thread that ends with it.
fn within<T: Send>(netns: &Path, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = open(netns)?;
    let enter = || {
        setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", netns.display()))?;
        job()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

fn open(netns: &Path) -> Result<File> {
    File::open(netns).with_context(|| format!("open {}", netns.display()))
}
