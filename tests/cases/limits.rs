//! Limits hold.
use anyhow::Result;
use serde_json::json;
use std::time::Duration;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::Pod;
use weft_tests::traffic::flood;

#[test]
fn trial() -> Result<()> {
    let node = Node::start_with(Settings::new(Attach::Tcx))?;
    println!("{}", node.weft_json(&["status"])?["bandwidth"]);
    let other = node.pod()?;
    let rates: Vec<u64> = std::env::var("RATES")
        .map(|r| r.split(',').map(|x| x.parse().unwrap()).collect())
        .unwrap_or(vec![1, 10, 100, 1000]);
    for mbit in rates {
        let rate = mbit * 1_000_000;
        let network = node.network().offering(json!({ "bandwidth": { "ingressRate": rate, "egressRate": rate } }));
        let pod = Pod::attach(&node, &network)?;
        pod.check(&node)?;
        for family in [Family::V4, Family::V6] {
            let address = pod.address(family)?;
            let back = other.address(family)?;
            for (streams, congestion) in [(1, "cubic"), (1, "bbr"), (8, "cubic"), (8, "bbr")] {
                let tcp = flood::Tcp { streams, congestion, time: Duration::from_secs(2) };
                let down = flood::tcp(other.netns(), pod.netns(), address, tcp)? / rate as f64;
                let up = flood::tcp(pod.netns(), other.netns(), back, tcp)? / rate as f64;
                println!("{mbit} Mbit/s {family:?} {streams} {congestion}: down {down:.3} up {up:.3}");
            }
            let time = Duration::from_secs(2);
            let down = flood::udp(other.netns(), pod.netns(), address, 2.0 * rate as f64, time)? / rate as f64;
            let up = flood::udp(pod.netns(), other.netns(), back, 2.0 * rate as f64, time)? / rate as f64;
            println!("{mbit} Mbit/s {family:?} udp: down {down:.3} up {up:.3}");
        }
        println!("{}", node.weft(&["map", "dump", "rates"])?.text());
        println!("{}", node.weft(&["endpoint", "list"])?.text());
        pod.del(&node)?;
    }
    println!("{}", node.agent_log());
    Ok(())
}
