//! CHECK: whether an attachment is still as ADD left it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::IgnoredAny;

use crate::api::{AttachmentKey, CheckRequest};
use crate::command::Call;
use crate::command::failure::Failure;
use crate::link::inspect::{addresses, link_by_name, permanent_neighbours, routes};
use crate::link::netlink::{Netlink, NetlinkError};
use crate::link::netns::Netns;
use crate::link::{gateway, host_ifname, host_mac};
use crate::mac::Mac;
use crate::path;
use crate::spec::args::Args;
use crate::spec::prev_result::{PrevResult, PrevResultError};

/// Something in the pod is missing or is not what the previous result says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Difference {
    #[error("{0} is gone")]
    NoInterface(String),
    #[error("{0} is down")]
    Down(String),
    #[error("{ifname} has MAC {found}, not {expected}")]
    Mac { ifname: String, found: Mac, expected: String },
    #[error("address {0} is gone")]
    NoAddress(IpNet),
    #[error("route {dst} via {gateway} is gone")]
    NoRoute { dst: IpNet, gateway: IpAddr },
    #[error("neighbour {address} with MAC {mac} is gone")]
    NoNeighbour { address: IpAddr, mac: Mac },
}

/// Compares the previous result with the pod, lets the agent compare the rest, then the IPAM plugin its own.
pub(super) fn check(call: &Call) -> Result<(), Failure> {
    let (key, netns_path) = call.environment.sandboxed()?;
    Args::parse(&call.environment.args()?)?;
    let prev = call.conf.prev_result()?.ok_or(PrevResultError::Missing)?;
    let (index, _) = prev.interface(&key.ifname, &netns_path)?;
    let mut pod = Netns::open(&netns_path)?.enter(Netlink::open)??;
    let differences = compare(&mut pod, &key, &prev, index)?;
    if !differences.is_empty() {
        return Err(Failure::Differences(differences));
    }
    let request = CheckRequest { addresses: prev.addresses(index) };
    let path = format!("{}/check", path::attachment(&key));
    call.client().post::<IgnoredAny>(&path, &request, call.deadline)?;
    call.forward("CHECK")
}

fn compare(
    pod: &mut Netlink,
    key: &AttachmentKey,
    prev: &PrevResult,
    index: usize,
) -> Result<Vec<Difference>, NetlinkError> {
    let ifname = || key.ifname.clone();
    let Some(link) = link_by_name(pod, &key.ifname)? else { return Ok(vec![Difference::NoInterface(ifname())]) };
    let mut differences = Vec::new();
    if !link.up {
        differences.push(Difference::Down(ifname()));
    }
    let expected = prev.result.interfaces.get(index).map(|interface| interface.mac.clone()).unwrap_or_default();
    if !expected.is_empty() && !link.mac.to_string().eq_ignore_ascii_case(&expected) {
        differences.push(Difference::Mac { ifname: ifname(), found: link.mac, expected });
    }
    let networks = prev.networks(index);
    let present = addresses(pod, link.index)?;
    let gone = networks.iter().filter(|network| !present.contains(network));
    differences.extend(gone.copied().map(Difference::NoAddress));
    // Gateway and neighbour are ours only where we made the interface.
    if prev.result.interfaces.iter().any(|interface| interface.name == host_ifname(key)) {
        let mut gateways: Vec<_> = networks.iter().map(|network| gateway(network.addr())).collect();
        gateways.sort_unstable();
        gateways.dedup();
        differences.extend(missing_routes(pod, prev, link.index, &gateways)?);
        let neighbours = permanent_neighbours(pod, link.index)?;
        let expected = gateways.into_iter().map(|gateway| (gateway, host_mac(key)));
        let gone = expected.filter(|neighbour| !neighbours.contains(neighbour));
        differences.extend(gone.map(|(address, mac)| Difference::NoNeighbour { address, mac }));
    }
    Ok(differences)
}

/// Routes of the previous result through our gateways that the interface does not have, in whatever table. What a
/// later plugin took out of the result is none of them.
fn missing_routes(
    pod: &mut Netlink,
    prev: &PrevResult,
    ifindex: u32,
    gateways: &[IpAddr],
) -> Result<Vec<Difference>, NetlinkError> {
    let present = routes(pod)?;
    let expected = prev.result.routes.iter().filter_map(|route| {
        let gateway = route.gw.filter(|gateway| gateways.contains(gateway))?;
        Some((route.dst.trunc(), gateway))
    });
    let exists = |dst, gateway| {
        let ours = present.iter().filter(|route| route.ifindex == ifindex);
        ours.into_iter().any(|route| route.dst == dst && route.gateway == Some(gateway))
    };
    Ok(expected
        .filter(|(dst, gateway)| !exists(*dst, *gateway))
        .map(|(dst, gateway)| Difference::NoRoute { dst, gateway })
        .collect())
}
