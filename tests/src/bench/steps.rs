//! Where the time of one of our requests goes: its exchanges with the agent cut it into steps.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::chain::Chain;
use super::relay;
use super::requests::{settle, spawn, timed};
use super::statistics::{median, millis};
use super::{Bench, Figures, progress};

/// A request whose steps are watched.
struct Operation {
    /// Its exchanges with the agent.
    methods: &'static [&'static str],
    /// What happens before the first exchange, in it, and so on until the process has ended; and all of it.
    steps: &'static [&'static str],
}

const ADD: Operation = Operation {
    methods: &["POST", "PUT"],
    steps: &[
        "ADD: start, configuration",
        "ADD: POST (record, lease)",
        "ADD: interface (netlink)",
        "ADD: PUT (programs, maps)",
        "ADD: result, exit",
        "ADD: all, through the relay",
    ],
};
const DEL: Operation = Operation {
    methods: &["DELETE"],
    steps: &[
        "DEL: start, configuration",
        "DEL: DELETE (programs, maps, link)",
        "DEL: exit",
        "DEL: all, through the relay",
    ],
};

/// Attaches and detaches pods through a relay.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let pods = bench.rounds(40, 15);
    let sandboxes = bench.sandboxes()?;
    progress(&format!("{pods} ADDs and DELs of weft, step by step"));
    let chain = Chain::weft(&bench.site)?;
    let relay = Relay { socket: bench.site.dir().join("relay.sock"), agent: chain.node()?.socket() };
    let network = chain.through(&relay.socket);
    let (mut spawns, mut versions, mut adds, mut dels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    chain.netns().enter(|| -> Result<()> {
        for sandbox in sandboxes.iter().take(pods) {
            spawns.push(spawn()?);
            versions.push(timed(|| chain.version())?.0);
            let (row, pod) = relay.watch(&ADD, || chain.add_by(network.clone(), sandbox))?;
            adds.push(row);
            settle();
            dels.push(relay.watch(&DEL, || chain.del(&pod))?.0);
            settle();
        }
        Ok(())
    })??;
    figures.note("spawning /bin/true", median(&spawns), "ms");
    figures.note("weft-cni VERSION", median(&versions), "ms");
    for (operation, rows) in [(ADD, adds), (DEL, dels)] {
        for (step, name) in operation.steps.iter().enumerate() {
            let times: Vec<f64> = rows.iter().filter_map(|row| row.get(step).copied()).collect();
            figures.note(*name, median(&times), "ms");
        }
    }
    Ok(())
}

struct Relay {
    socket: PathBuf,
    agent: PathBuf,
}

impl Relay {
    /// Runs a request; what each of its steps took in milliseconds, and its result.
    fn watch<T>(&self, operation: &Operation, job: impl FnOnce() -> Result<T>) -> Result<(Vec<f64>, T)> {
        let ((begun, result, ended), exchanges) = relay::watch(&self.socket, &self.agent, || {
            let begun = Instant::now();
            let result = job()?;
            Ok((begun, result, Instant::now()))
        })?;
        let methods: Vec<&str> = exchanges.iter().map(|exchange| exchange.method.as_str()).collect();
        ensure!(methods == operation.methods, "{:?} was due, and {methods:?} came", operation.methods);
        let between = exchanges.iter().flat_map(|exchange| [exchange.asked, exchange.answered]);
        let marks: Vec<Instant> = [begun].into_iter().chain(between).chain([ended]).collect();
        let steps = marks.windows(2).map(|pair| millis(pair[1] - pair[0]));
        Ok((steps.chain([millis(ended - begun)]).collect(), result))
    }
}
