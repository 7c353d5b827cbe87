//! The network `loopback`, which containerd has beside every pod's own: where no other plugin of that name is
//! installed, a copy of weft-cni stands in.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use crate::command::Call;
use crate::command::check::Difference;
use crate::command::failure::Failure;
use crate::link::inspect::{addresses, link_by_index};
use crate::link::netlink::Netlink;
use crate::link::netns::Netns;
use crate::link::veth;
use crate::mac::Mac;
use crate::spec::env::Operation;
use crate::spec::result::{AddResult, Interface, IpConfig};

/// `type` of its configuration.
pub(crate) const TYPE: &str = "loopback";

const NAME: &str = "lo";
/// `LOOPBACK_IFINDEX` of the kernel: the first device of every network namespace.
const INDEX: u32 = 1;

/// Runs any operation but VERSION, which is every network's. `lo` goes with its namespace, and no agent is asked.
pub(super) fn run(operation: Operation, call: &Call) -> Result<Option<Value>, Failure> {
    match operation {
        Operation::Add => add(call).map(Some),
        Operation::Check => check(call).map(|()| None),
        Operation::Del | Operation::Gc | Operation::Status | Operation::Version => Ok(None),
    }
}

fn add(call: &Call) -> Result<Value, Failure> {
    let (_, path) = call.environment.sandboxed()?;
    let prev = call.conf.prev_result()?;
    let mut netlink = Netns::open(&path)?.enter(Netlink::open)??;
    netlink.batch(vec![veth::up(INDEX)])?.complete()?;
    if let Some(prev) = prev {
        return prev.encode(call.conf.version).map_err(Failure::Encode);
    }
    // On a kernel without IPv6 there is none of it.
    let usual = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut addresses = addresses(&mut netlink, INDEX)?;
    addresses.retain(|network| usual.contains(&network.addr()));
    addresses.sort_by_key(IpNet::addr);
    let ip = |address| IpConfig { version: None, interface: Some(0), address, gateway: None };
    let lo =
        Interface { name: NAME.to_owned(), mac: Mac::default().to_string(), sandbox: path, ..Interface::default() };
    let result =
        AddResult { interfaces: vec![lo], ips: addresses.into_iter().map(ip).collect(), ..AddResult::default() };
    result.encode(call.conf.version).map_err(Failure::Encode)
}

fn check(call: &Call) -> Result<(), Failure> {
    let (_, path) = call.environment.sandboxed()?;
    let mut netlink = Netns::open(&path)?.enter(Netlink::open)??;
    match link_by_index(&mut netlink, INDEX)? {
        Some(lo) if lo.up => Ok(()),
        _ => Err(Failure::Differences(vec![Difference::Down(NAME.to_owned())])),
    }
}
