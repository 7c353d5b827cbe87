//! The ways off the node.

use std::collections::HashSet;

use tokio::runtime::Builder;
use weft_cni::api::ProxyStatus;

use crate::config::Config;
use crate::node::{self, Expedite, Node, NodeError, Search, Uplinks};
use crate::text;

use super::check::Check;

/// A group that no device of the node has.
const GROUP: u32 = 0;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    const WHAT: &str = "uplink";
    let found = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(uplinks(config)),
        Err(error) => return vec![Check::unknown(WHAT, "", error.to_string())],
    };
    let Uplinks { all, warnings } = match found {
        Ok(found) => found,
        Err(error) => return vec![Check::unknown(WHAT, "", text::chain(&error))],
    };
    let mut checks: Vec<_> = all
        .iter()
        .map(|uplink| {
            let addresses: Vec<_> = [uplink.v4.map(|ip| ip.to_string()), uplink.v6.map(|ip| ip.to_string())]
                .into_iter()
                .flatten()
                .collect();
            let found = format!("{} {}, MTU {}", uplink.name, addresses.join(" "), uplink.mtu);
            if uplink.up {
                Check::ok(WHAT, found)
            } else {
                Check::degraded(WHAT, found, "it is down: pods reach nobody by it")
            }
        })
        .collect();
    if checks.is_empty() {
        let remedy = "pods reach no other node: give the node a default route, or name its device by devices";
        checks.push(Check::degraded(WHAT, "none", remedy));
    }
    checks.push(proxy());
    checks.extend(warnings.into_iter().map(|warning| Check::degraded(WHAT, "odd", warning)));
    checks
}

/// Who translates services: weft leaves that to them, whichever they are.
fn proxy() -> Check {
    let ProxyStatus { mode, evidence } = node::proxy();
    Check::ok("kube-proxy", mode).note(evidence)
}

async fn uplinks(config: &Config) -> Result<Uplinks, NodeError> {
    let node = Node::open(GROUP, &Expedite::new(false, &config.run_dir), &config.proc_dir)?;
    let search = Search { devices: config.network.devices.clone(), node_ip: config.network.node_ip.clone() };
    Ok(node.uplinks(&node.tables().await?, &search, &HashSet::new(), &HashSet::new()))
}
