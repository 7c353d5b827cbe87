//! From pod to pod on one node, by several paths in turns.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, thread};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::chain::Chain;
use super::statistics::{median, median_ratio};
use super::traffic::{Kind, READY, Side, Way};
use super::{Bench, Figures, Target, progress};
use crate::exec;
use crate::node::Family;
use crate::pod::{Sandbox, addresses};

/// Where servers listen.
const PORT: u16 = 7007;

/// A path between two namespaces.
#[derive(Debug)]
struct Path {
    label: &'static str,
    client: Sandbox,
    server: Sandbox,
    /// The server's.
    addresses: Vec<IpAddr>,
    /// The node that it leads over, where there is one.
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
                "addr add fd00:10:21::1/64 dev eth0 nodad",
                "link set eth0 up",
            ],
        )?;
        exec::ip_batch(
            &server.netns,
            &["addr add 10.21.0.2/24 dev eth0", "addr add fd00:10:21::2/64 dev eth0 nodad", "link set eth0 up"],
        )?;
        let addresses = vec![[10, 21, 0, 2].into(), [0xfd00, 0x10, 0x21, 0, 0, 0, 0, 2].into()];
        Ok(Self { label: "bare veth", client, server, addresses, _chain: None })
    }

    /// Two pods of a chain.
    fn through(bench: &Bench, chain: Chain) -> Result<Self> {
        let (client, server) = (Sandbox::on(Arc::clone(&bench.site))?, Sandbox::on(Arc::clone(&bench.site))?);
        let add = |sandbox, number| chain.netns().enter(|| chain.add(sandbox, number))?;
        add(&client, 0)?;
        let addresses = addresses(&add(&server, 1)?.result)?;
        Ok(Self { label: chain.label, client, server, addresses, _chain: Some(chain) })
    }

    /// The server's address of this family.
    fn server_address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| family.has(address))
    }
}

/// What is measured on each path.
struct Measure {
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    /// For weft's ratio to the bare veth.
    target: Target,
    /// Whether both ends share a processor: otherwise round trips time how it wakes up.
    one_cpu: bool,
}

const MEASURES: [Measure; 3] = [
    Measure {
        kind: Kind::RoundTrips,
        name: "TCP round trip p50",
        unit: "us",
        target: Target::AtMost(1.06),
        one_cpu: true,
    },
    Measure { kind: Kind::Stream, name: "TCP stream", unit: "Gbit/s", target: Target::AtLeast(0.97), one_cpu: false },
    Measure {
        kind: Kind::Datagrams,
        name: "64-byte datagrams",
        unit: "thousand/s",
        target: Target::AtLeast(0.90),
        one_cpu: false,
    },
];

/// Measures all ways side by side.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let paths = [
        Path::bare(bench)?,
        Path::through(bench, Chain::weft(&bench.site)?)?,
        Path::through(bench, Chain::bridge(&bench.site)?)?,
        Path::through(bench, Chain::ptp(&bench.site)?)?,
    ];
    for (measure, family) in MEASURES.iter().flat_map(|measure| Family::BOTH.map(|family| (measure, family))) {
        // The reference plugins' pods have an IPv4 address alone.
        let paths: Vec<&Path> = paths.iter().filter(|path| path.server_address(family).is_some()).collect();
        compare(bench, &paths, measure, family, figures)?;
    }
    Ok(())
}

/// Compares each path with the first of them; the second is ours.
fn compare(bench: &Bench, paths: &[&Path], measure: &Measure, family: Family, figures: &mut Figures) -> Result<()> {
    let title = format!("{}, IP{}", measure.name, format!("{family:?}").to_lowercase());
    progress(&format!("{title} on {} paths", paths.len()));
    let turns = send(paths, measure, family, bench.rounds(1500, 500))?;
    for (index, (path, values)) in paths.iter().zip(&turns).enumerate() {
        figures.note(format!("{title}, {}", path.label), median(values), measure.unit);
        let (name, ratio) = (format!("{title}, {} / bare", path.label), median_ratio(values, &turns[0]));
        match index {
            0 => {}
            1 => figures.aim(name, ratio, "", measure.target),
            _ => figures.note(name, ratio, ""),
        }
    }
    Ok(())
}

/// Sends on all paths in turns, so many milliseconds on each; what each turn measured, path by path.
fn send(paths: &[&Path], measure: &Measure, family: Family, millis: usize) -> Result<Vec<Vec<f64>>> {
    let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let server_cpu = if measure.one_cpu { 0 } else { last };
    let millis = millis * paths.len();
    let mut server = end(paths, Side::Server, measure, family, server_cpu, millis)?;
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the servers")?;
    let mut said = String::new();
    let out = server.stdout.take().context("a process without standard output")?;
    BufReader::new(out).read_line(&mut said).context("wait for the servers")?;
    let client = end(paths, Side::Client, measure, family, 0, millis)?.stderr(Stdio::inherit()).output();
    // Its standard input ends, and so does the server.
    drop(server.stdin.take());
    server.wait().context("wait for the servers")?;
    let client = client.context("start the clients")?;
    ensure!(said.trim() == READY && client.status.success(), "nothing passes: {}", client.status);
    serde_json::from_slice(&client.stdout).context("read what the clients measured")
}

/// This program as one end of all paths.
fn end(
    paths: &[&Path],
    side: Side,
    measure: &Measure,
    family: Family,
    cpu: usize,
    millis: usize,
) -> Result<Command> {
    let word = |value: Option<PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(env::current_exe().context("find this program")?);
    command.args(["traffic".into(), word(side.to_possible_value()), word(measure.kind.to_possible_value())]);
    command.args([cpu.to_string(), millis.to_string()]);
    for path in paths {
        let address = path.server_address(family).context("a path without an address")?;
        let pod = if side == Side::Server { &path.server } else { &path.client };
        command.arg(Way { netns: pod.netns.path().to_owned(), server: SocketAddr::new(address, PORT) }.to_string());
    }
    Ok(command)
}
