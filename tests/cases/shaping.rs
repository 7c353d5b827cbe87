//! Limits hold, whatever the path, in both directions, and from a pod's first packet to its end.
#[path = "shaping_kernels.rs"]
mod kernels;
#[path = "shaping_life.rs"]
mod life;
#[path = "shaping_ways.rs"]
mod ways;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use weft_tests::netns::Netns;
use weft_tests::node::Node;
use weft_tests::pod::Pod;
use weft_tests::runtime::Network;
use weft_tests::traffic::flood::{self, Reached, Tcp};

/// Bits a second that limited pods may send and be sent.
const RATE: u64 = 20_000_000;

/// How long each measurement takes; short, for there are many.
const TIME: Duration = Duration::from_secs(2);

const ONE: Tcp = Tcp { streams: 1, congestion: "cubic", time: TIME };

/// The network whose runtime asks for these rates, in bits a second.
fn asking(network: &Network, ingress: Option<u64>, egress: Option<u64>) -> Network {
    let mut bandwidth = json!({});
    for (name, rate) in [("ingressRate", ingress), ("egressRate", egress)] {
        if let Some(rate) = rate {
            bandwidth[name] = rate.into();
        }
    }
    network.clone().offering(json!({ "bandwidth": bandwidth }))
}

fn limited(node: &Node, ingress: Option<u64>, egress: Option<u64>) -> Result<Pod> {
    Pod::attach(node, &asking(&node.network(), ingress, egress))
}

fn bits(rate: u64) -> Result<f64> {
    Ok(u32::try_from(rate)?.into())
}

/// Headers take up to 5 percent of what is counted, and a busy machine some more of so short a time.
fn must_hold(what: &str, reached: &Reached, rate: u64) -> Result<()> {
    must_be_within(what, reached, bits(rate)?, 0.85..1.02)
}

/// Never more than the upper share, and no less than the lower one unless the machine stood still.
fn must_be_within(what: &str, reached: &Reached, rate: f64, share: Range<f64>) -> Result<()> {
    let (mean, median) = (reached.mean / rate, reached.median() / rate);
    ensure!(mean < share.end && median >= share.start, "{what}: {mean:.3}, median {median:.3} of {rate} bit/s");
    Ok(())
}

/// Streams without a limit take all that the machine has, so the others wait for them.
static ALONE: RwLock<()> = RwLock::new(());

/// What one stream reaches between two namespaces.
fn stream(from: &Netns, to: &Netns, address: IpAddr) -> Result<Reached> {
    let _beside_others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    flood::tcp(from, to, address, ONE)
}

fn must_be_free(what: &str, from: &Netns, to: &Netns, address: IpAddr) -> Result<()> {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let reached = flood::tcp(from, to, address, ONE)?.mean;
    ensure!(reached > 4.0 * bits(RATE)?, "{what}: {reached:.0} bit/s");
    Ok(())
}
