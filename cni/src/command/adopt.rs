//! ADD behind another plugin of the chain: takes over the veth pair that it made.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::api::{AttachmentKey, EndpointSpec, IpamRequest, Lease, LeaseRequest, Origin, PodRef};
use crate::command::failure::Failure;
use crate::command::release::release;
use crate::command::{Call, UNDO_DEADLINE};
use crate::link::inspect::{Link, link_by_index, link_by_name, namespace_id};
use crate::link::netlink::Netlink;
use crate::link::netns::Netns;
use crate::path;
use crate::spec::conf::Service;
use crate::spec::prev_result::{PrevResult, PrevResultError};

/// Hands the pair over to the agent and passes the previous result on.
pub(super) fn adopt(
    call: &Call,
    key: AttachmentKey,
    netns_path: &str,
    netns: &Netns,
    pod: Option<PodRef>,
    prev: PrevResult,
) -> Result<Value, Failure> {
    let service = call.conf.chained()?;
    let (index, _) = prev.interface(&key.ifname, netns_path)?;
    let addresses = prev.addresses(index);
    if addresses.is_empty() {
        return Err(PrevResultError::NoAddress { ifname: key.ifname }.into());
    }
    let endpoint = find_pair(&key.ifname, netns_path, netns, addresses, service)?;
    let request = LeaseRequest {
        key,
        network: call.conf.name.clone(),
        netns: netns_path.to_owned(),
        origin: Origin::Adopted,
        ipam: IpamRequest::Delegated,
        pod,
    };
    let mut client = call.client();
    let _: Lease = client.post("/v1/attachments", &request, call.deadline)?;
    if let Err(error) = client.put::<IgnoredAny>(&path::attachment(&request.key), &endpoint, call.deadline) {
        let released = release(&mut client, &request.key, Instant::now() + UNDO_DEADLINE);
        return Err(Failure::from(error).and(released.err()));
    }
    prev.encode(call.conf.version).map_err(Failure::Encode)
}

/// Both ends as the kernel knows them.
fn find_pair(
    ifname: &str,
    netns_path: &str,
    netns: &Netns,
    addresses: Vec<IpAddr>,
    service: Service,
) -> Result<EndpointSpec, Failure> {
    let mut inside = netns.enter(Netlink::open)??;
    let absent = || PrevResultError::NoInterface { ifname: ifname.to_owned(), netns: netns_path.to_owned() };
    let elsewhere = || PrevResultError::PeerElsewhere { ifname: ifname.to_owned() };
    let end = link_by_name(&mut inside, ifname)?.ok_or_else(absent)?;
    if end.kind != "veth" {
        let kind = if end.kind.is_empty() { "hardware".to_owned() } else { end.kind };
        return Err(PrevResultError::NoVeth { ifname: ifname.to_owned(), kind }.into());
    }
    let mut node = Netlink::open()?;
    let peer = end.peer.map(|index| link_by_index(&mut node, index)).transpose()?.flatten();
    // Indices repeat from namespace to namespace: the peer must point back, and to this namespace.
    let id = namespace_id(&mut node, netns.as_raw_fd())?;
    let points_back = |peer: &Link| peer.kind == "veth" && peer.peer == Some(end.index) && peer.peer_netns == id;
    let host = peer.filter(|peer| id.is_some() && points_back(peer)).ok_or_else(elsewhere)?;
    Ok(EndpointSpec {
        host_ifname: host.name,
        host_ifindex: host.index,
        host_mac: host.mac,
        pod_mac: end.mac,
        addresses,
        mtu: end.mtu,
        ports: service.ports,
        bandwidth: service.bandwidth,
    })
}
