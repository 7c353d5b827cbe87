//! From pod to pod on one node, by several ways in turns.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::{env, thread};

use anyhow::{Context, Result, ensure};

use super::chain::Chain;
use super::requests::turns;
use super::statistics::{median, median_ratio};
use super::traffic::{Kind, Outcome, READY};
use super::{Bench, Figures, Target, progress};
use crate::exec;
use crate::netns::Netns;
use crate::pod::{Sandbox, addresses};

/// A way between two namespaces.
#[derive(Debug)]
struct Path {
    label: &'static str,
    client: Sandbox,
    server: Sandbox,
    address: IpAddr,
    /// The node that the way leads over, where there is one.
    _chain: Option<Chain>,
}

impl Path {
    /// A veth pair that joins the two namespaces: no node between them.
    fn bare(bench: &Bench) -> Result<Self> {
        let (client, server) = (Sandbox::on(Arc::clone(&bench.site))?, Sandbox::on(Arc::clone(&bench.site))?);
        let far = server.netns.name();
        exec::ip_batch(
            &client.netns,
            &[
                &format!("link add eth0 type veth peer name eth0 netns {far}"),
                "addr add 10.21.0.1/24 dev eth0",
                "link set eth0 up",
            ],
        )?;
        exec::ip_batch(&server.netns, &["addr add 10.21.0.2/24 dev eth0", "link set eth0 up"])?;
        let address = Ipv4Addr::new(10, 21, 0, 2).into();
        Ok(Self { label: "bare veth", client, server, address, _chain: None })
    }

    /// Two pods of a chain.
    fn through(bench: &Bench, chain: Chain) -> Result<Self> {
        let (client, server) = (Sandbox::on(Arc::clone(&bench.site))?, Sandbox::on(Arc::clone(&bench.site))?);
        let add = |sandbox, number| chain.netns().enter(|| chain.add(sandbox, number))?;
        add(&client, 0)?;
        let result = add(&server, 1)?.result;
        let address = addresses(&result)?.into_iter().find(IpAddr::is_ipv4).context("no IPv4 address")?;
        Ok(Self { label: chain.label, client, server, address, _chain: Some(chain) })
    }
}

/// What is measured on each way.
struct Measure {
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    /// For weft's ratio to the bare veth.
    target: Target,
    /// How long one turn takes.
    millis: u64,
}

const MEASURES: [Measure; 3] = [
    Measure {
        kind: Kind::RoundTrips,
        name: "TCP round trip p50",
        unit: "us",
        target: Target::AtMost(1.06),
        millis: 100,
    },
    Measure { kind: Kind::Stream, name: "TCP stream", unit: "Gbit/s", target: Target::AtLeast(0.97), millis: 150 },
    Measure {
        kind: Kind::Datagrams,
        name: "64-byte datagrams",
        unit: "thousand/s",
        target: Target::AtLeast(0.90),
        millis: 100,
    },
];

/// Sends on every way in short turns: what else the machine does meets all of them alike.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(20, 8);
    let paths = [
        Path::bare(bench)?,
        Path::through(bench, Chain::weft(&bench.site)?)?,
        Path::through(bench, Chain::bridge(&bench.site)?)?,
        Path::through(bench, Chain::ptp(&bench.site)?)?,
    ];
    for measure in &MEASURES {
        progress(&format!("{} on {} ways, {rounds} rounds", measure.name, paths.len()));
        // The first turn resolves neighbours and fills caches.
        for path in &paths {
            turn(path, measure)?;
        }
        let mut values = vec![Vec::new(); paths.len()];
        for round in 0..rounds {
            for index in turns(round, paths.len()) {
                values[index].push(turn(&paths[index], measure)?);
            }
        }
        for (index, (path, row)) in paths.iter().zip(&values).enumerate() {
            figures.note(format!("{}, {}", measure.name, path.label), median(row), measure.unit);
            let (name, ratio) = (format!("{}, {} / bare", measure.name, path.label), median_ratio(row, &values[0]));
            match index {
                0 => {}
                1 => figures.aim(name, ratio, "", measure.target),
                _ => figures.note(name, ratio, ""),
            }
        }
    }
    Ok(())
}

/// One turn on one way.
fn turn(path: &Path, measure: &Measure) -> Result<f64> {
    // Round trips on one processor: otherwise they time how it wakes up.
    let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let cpu = if measure.kind == Kind::RoundTrips { 0 } else { last };
    let mut server = start(path, &path.server.netns, "server", measure, cpu)?;
    let mut ready = String::new();
    server.out.read_line(&mut ready).context("wait for the server")?;
    ensure!(ready.trim() == READY, "{}: the server did not start", path.label);
    let sent = start(path, &path.client.netns, "client", measure, 0)?.outcome(path)?;
    let received = server.outcome(path)?;
    Ok(match measure.kind {
        Kind::RoundTrips => sent,
        Kind::Stream => received,
        Kind::Datagrams => received / 1e3,
    })
}

/// A process at one end.
struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

fn start(path: &Path, netns: &Netns, side: &str, measure: &Measure, cpu: usize) -> Result<Process> {
    let kind = clap::ValueEnum::to_possible_value(&measure.kind).context("a kind without a name")?;
    let mut command = Command::new(env::current_exe().context("find this program")?);
    command.args(["traffic", side, kind.get_name()]).arg(SocketAddr::new(path.address, 7007).to_string());
    command.args([cpu.to_string(), measure.millis.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = netns.enter(|| command.spawn())?.context("start one end of a path")?;
    let out = child.stdout.take().context("a process without standard output")?;
    Ok(Process { child, out: BufReader::new(out) })
}

impl Process {
    /// Waits for its end; what it measured.
    fn outcome(mut self, path: &Path) -> Result<f64> {
        let mut line = String::new();
        self.out.read_to_string(&mut line).context("read what one end measured")?;
        let status = self.child.wait().context("wait for one end")?;
        ensure!(status.success(), "{}: one end failed: {status}", path.label);
        Ok(serde_json::from_str::<Outcome>(&line).context("read what one end measured")?.value)
    }
}
