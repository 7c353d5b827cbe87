//! Traffic between the two ends of several lines, in turns, by processes of this very program.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::statistics::{median, median_ratio};
use super::traffic::{Kind, READY, Side, Way};
use super::{Figures, Target, progress};
use crate::netns::Netns;
use crate::node::Family;

/// Where servers listen.
pub(super) const PORT: u16 = 7007;

/// A client, a server and what lies between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// What it is called in the table.
    pub(super) label: &'static str,
    pub(super) client: &'a Netns,
    pub(super) server: &'a Netns,
    /// The server's.
    pub(super) address: IpAddr,
    /// Whom the client asks, at the port of the server, if not the server itself.
    pub(super) asked: Option<IpAddr>,
}

impl<'a> Line<'a> {
    /// A line on which the client asks for the server's own address.
    pub(super) fn direct(label: &'static str, client: &'a Netns, server: &'a Netns, address: IpAddr) -> Self {
        Self { label, client, server, address, asked: None }
    }
}

/// What is measured on each line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Whether both ends share a processor: otherwise it is timed how one wakes the other, which in a virtual machine
    /// takes several times what the path does, and differs from one moment to the next.
    pub(super) one_cpu: bool,
}

/// One byte there, one byte back.
pub(super) const ROUND_TRIPS: Measure =
    Measure { kind: Kind::RoundTrips, name: "TCP round trip p50", unit: "us", one_cpu: true };
/// One TCP connection, as fast as it goes.
pub(super) const STREAM: Measure = Measure { kind: Kind::Stream, name: "TCP stream", unit: "Gbit/s", one_cpu: true };
/// Small datagrams, one system call each.
pub(super) const DATAGRAMS: Measure =
    Measure { kind: Kind::Datagrams, name: "64-byte datagrams", unit: "thousand/s", one_cpu: false };
/// One connection after another.
pub(super) const CONNECTIONS: Measure =
    Measure { kind: Kind::Connections, name: "new connections", unit: "/s", one_cpu: true };

/// Which line is compared with the first one, and what its ratio is aimed to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub(super) line: usize,
    pub(super) target: Target,
}

/// Measures all lines side by side, so many milliseconds on each, and compares each with the first.
pub(super) fn compare(
    lines: &[Line<'_>],
    measure: &Measure,
    family: Family,
    aim: Option<Aim>,
    millis: usize,
    figures: &mut Figures,
) -> Result<()> {
    let title = format!("{}, {}", measure.name, family_name(family));
    progress(&format!("{title}, {} lines in turns", lines.len()));
    let turns = send(lines, measure, millis)?;
    for (index, (line, values)) in lines.iter().zip(&turns).enumerate() {
        figures.note(format!("{title}, {}", line.label), median(values), measure.unit);
        if index == 0 {
            continue;
        }
        let name = format!("{title}, {} / {}", line.label, lines[0].label);
        let ratio = median_ratio(values, &turns[0]);
        match aim.filter(|aim| aim.line == index) {
            Some(aim) => figures.aim(name, ratio, "", aim.target),
            None => figures.note(name, ratio, ""),
        }
    }
    Ok(())
}

/// Sends on all lines in turns, so many milliseconds on each; what each turn measured, line by line.
pub(super) fn send(lines: &[Line<'_>], measure: &Measure, millis: usize) -> Result<Vec<Vec<f64>>> {
    let server_cpu = if measure.one_cpu { 0 } else { last_cpu() };
    let millis = millis * lines.len();
    let mut server = end(lines, Side::Server, measure.kind, server_cpu, millis)?;
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the servers")?;
    let mut said = String::new();
    let out = server.stdout.take().context("a process without standard output")?;
    BufReader::new(out).read_line(&mut said).context("wait for the servers")?;
    let mut client = end(lines, Side::Client, measure.kind, 0, millis)?;
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // All of its sockets are below the node whose programs see what a process of the node connects to.
    let inside = lines.iter().map(|line| line.client).find(|netns| netns.cgroup().is_some());
    let client = match inside {
        Some(netns) => netns.enter(|| client.spawn())?,
        None => client.spawn(),
    };
    let client = client.and_then(Child::wait_with_output);
    // Its standard input ends, and so does the server.
    drop(server.stdin.take());
    server.wait().context("wait for the servers")?;
    let client = client.context("start the clients")?;
    ensure!(said.trim() == READY && client.status.success(), "nothing passes: {}", client.status);
    serde_json::from_slice(&client.stdout).context("read what the clients measured")
}

/// What a family is called in the table.
pub(super) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// The processor that clients are not on, if there is more than one.
pub(super) fn last_cpu() -> usize {
    thread::available_parallelism().map_or(0, |count| count.get() - 1)
}

/// This program as one end of all lines.
fn end(lines: &[Line<'_>], side: Side, kind: Kind, cpu: usize, millis: usize) -> Result<Command> {
    let word = |value: Option<PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(env::current_exe().context("find this program")?);
    command.args(["traffic".into(), word(side.to_possible_value()), word(kind.to_possible_value())]);
    command.args([cpu.to_string(), millis.to_string()]);
    for line in lines {
        let (netns, address) = match side {
            Side::Server => (line.server, line.address),
            Side::Client => (line.client, line.asked.unwrap_or(line.address)),
        };
        let server = SocketAddr::new(address, PORT);
        command.arg(Way { netns: netns.path().to_owned(), server }.to_string());
    }
    Ok(command)
}
