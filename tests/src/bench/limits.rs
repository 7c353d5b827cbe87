//! Rates that limited pods reach, ours and those of Debian's bandwidth plugin, in one run.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::load::{Direction, Load, Way};
use super::plot::{self, Plot};
use super::statistics::{median, number, percentile};
use super::{Bench, Figures, Target, progress};
use crate::fabric::{Fabric, Layout, Routing};
use crate::kernel;
use crate::node::{Attach, Family};
use crate::pod::{Pod, Sandbox};
use crate::runtime::Network;

/// Limits, in bits a second.
const RATES: [u64; 4] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Below this a processor does nothing: both are measured at once.
const QUIET: u64 = 10_000_000;
/// What passes; UDP at twice the limit, whatever that is.
const LOADS: [(&str, Kind); 3] =
    [("1 stream", Kind::Streams(1)), ("8 streams", Kind::Streams(8)), ("UDP at twice the limit", Kind::Flood)];
const WEFT: &str = "weft";
const REFERENCE: &str = "bandwidth plugin";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Streams(usize),
    Flood,
}

impl Kind {
    fn load(self, rate: u64) -> Load {
        match self {
            Self::Streams(count) => Load::Streams(count),
            Self::Flood => Load::Datagrams(rate * 2),
        }
    }

    /// What weft is to reach of a limit.
    fn target(self) -> Target {
        match self {
            Self::Streams(_) => Target::Within(0.95, 1.01),
            Self::Flood => Target::Within(0.97, 1.03),
        }
    }
}

/// A node with a pod for each rate.
#[derive(Debug)]
struct Limited {
    label: &'static str,
    pods: Vec<Pod>,
    fabric: Fabric,
}

impl Limited {
    fn lay(bench: &Bench) -> Result<Fabric> {
        Fabric::lay(&bench.site, Layout::new(Routing::Native, Attach::preferred()).nodes(1))
    }

    fn weft(bench: &Bench) -> Result<Self> {
        let fabric = Self::lay(bench)?;
        fabric.start_agents()?;
        let node = fabric.node(1);
        // What kubelet sends for a burst that nobody has named.
        let limited =
            |rate: &u64| Pod::attach(node, &node.network().offering(limits(*rate, i32::MAX.unsigned_abs().into())));
        let pods = RATES.iter().map(limited).collect::<Result<_>>()?;
        Ok(Self { label: WEFT, pods, fabric })
    }

    fn reference(bench: &Bench) -> Result<Self> {
        let fabric = Self::lay(bench)?;
        let node = fabric.node(1);
        kernel::set_sysctl(node.netns(), "net/ipv4/ip_forward", "1")?;
        let ipam = json!({
            "type": "host-local",
            "dataDir": node.dir().join("host-local"),
            "ranges": [[{ "subnet": "10.22.0.0/16" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        let bridge = json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": ipam });
        let bandwidth = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
        let network = Network::of(vec![bridge, bandwidth]).named("reference").version("1.0.0");
        let limited = |rate: &u64| {
            // A bucket without the burst of a lifetime, to its favour: 20 ms, and room for half a GSO packet.
            let network = network.clone().offering(limits(*rate, (rate / 50).max(256_000)));
            Pod::attach_as(node, &network, Sandbox::on(Arc::clone(&bench.site))?)
        };
        let pods = RATES.iter().map(limited).collect::<Result<_>>()?;
        Ok(Self { label: REFERENCE, pods, fabric })
    }

    fn way(&self, rate: usize, direction: Direction) -> Way<'_> {
        let address = self.fabric.member(1).gateway(Family::V4);
        Way { pod: self.pods[rate].netns(), outside: self.fabric.core().netns(), address, direction }
    }
}

fn limits(rate: u64, burst: u64) -> Value {
    json!({ "bandwidth": {
        "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst,
    }})
}

pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let directions: &[Direction] =
        if bench.quick { &[Direction::Egress] } else { &[Direction::Egress, Direction::Ingress] };
    progress("pods with limits, and those of the bandwidth plugin");
    let both = [Limited::weft(bench)?, Limited::reference(bench)?];
    let mut plot = Plot::default();
    for (direction, (name, kind)) in directions.iter().flat_map(|one| LOADS.map(|load| (*one, load))) {
        progress(&format!("{direction:?}, {name}, at {} limits", RATES.len()));
        for (at, rate) in RATES.iter().enumerate() {
            let reached = one_limit(bench, &both, at, direction, kind)?;
            for (limited, reached) in both.iter().zip(reached) {
                let ratio = reached / number(*rate);
                let figure = format!("{} Mbit/s, {direction:?}, {name}, {}", rate / 1_000_000, limited.label);
                match limited.label {
                    WEFT => figures.aim(figure, ratio, "", kind.target()),
                    _ => figures.note(figure, ratio, ""),
                }
                let panel = format!("{direction:?} of the pod");
                plot.add(&panel, limited.label, name, plot::Point { asked: number(*rate), reached });
            }
        }
    }
    latency(bench, &both, figures)?;
    if let Some(path) = &bench.plot {
        let command = "cargo xtask bench --only limits --plot docs/limits.svg";
        fs::write(path, plot.svg(command)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What both reach under one limit, in bits a second.
fn one_limit(bench: &Bench, both: &[Limited; 2], at: usize, direction: Direction, kind: Kind) -> Result<Vec<f64>> {
    let rate = RATES[at];
    let seconds = |full: f64, quick: f64| Duration::from_secs_f64(if bench.quick { quick } else { full });
    let (warm_up, time) = match rate {
        ..=1_000_000 => (seconds(2.0, 1.5), seconds(6.0, 3.0)),
        1_000_001..=QUIET => (seconds(1.0, 0.5), seconds(4.0, 1.5)),
        _ => (seconds(0.5, 0.5), seconds(2.5, 1.5)),
    };
    let run = |limited: &Limited| -> Result<f64> {
        let way = limited.way(at, direction);
        let (reached, ()) = way
            .under(kind.load(rate), warm_up, || {
                thread::sleep(time);
                Ok(())
            })
            .with_context(|| format!("{}, {rate} bit/s", limited.label))?;
        Ok(reached)
    };
    if rate > QUIET {
        return both.iter().map(run).collect();
    }
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = both.iter().map(|limited| scope.spawn(move || run(limited))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a sender panicked"))?).collect()
    })
}

/// Round trips of a pod that sends as fast as its limit lets it.
fn latency(bench: &Bench, both: &[Limited; 2], figures: &mut Figures) -> Result<()> {
    let time = Duration::from_secs(if bench.quick { 1 } else { 4 });
    for at in [1, 2] {
        progress(&format!("round trips under load, at {} bit/s", RATES[at]));
        for limited in both {
            let way = limited.way(at, Direction::Egress);
            let calm = way.round_trips(time / 4)?;
            let (_, loaded) = way.under(Load::Streams(1), time / 2, || way.round_trips(time))?;
            let name = |what| format!("{} Mbit/s, round trip {what}, {}", RATES[at] / 1_000_000, limited.label);
            figures.note(name("p50 without load"), median(&calm), "ms");
            figures.note(name("p50 beside a stream"), median(&loaded), "ms");
            figures.note(name("p95 beside a stream"), percentile(&loaded, 95), "ms");
        }
    }
    Ok(())
}
