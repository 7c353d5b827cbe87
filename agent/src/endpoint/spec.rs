//! What a request must look like before anything is done for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weft_cni::api::{AttachmentKey, Bandwidth, EndpointSpec, LeaseRequest, Origin, PortMapping};
use weft_cni::link::host_ifname;

use super::{EndpointError, Record};

/// Longest container id that fits the file and log lines it appears in; the specification names no limit.
const MAX_CONTAINER_ID: usize = 253;

pub(super) fn check_lease(request: &LeaseRequest) -> Result<(), EndpointError> {
    let AttachmentKey { container_id, ifname } = &request.key;
    // CNI 1.1.0, section 2, parameters.
    let is_id = container_id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && container_id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && container_id.len() <= MAX_CONTAINER_ID;
    if !is_id {
        return wrong("containerId", format!("{container_id:?} is no container id: letters, digits, '_', '.', '-'"));
    }
    let is_ifname = (1..=15).contains(&ifname.len())
        && ifname != "."
        && ifname != ".."
        && !ifname.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if !is_ifname {
        return wrong(
            "ifname",
            format!("{ifname:?} is no interface name: 1 to 15 bytes without '/', ':', white space"),
        );
    }
    if request.network.is_empty() {
        return wrong("network", "is empty: give the network's name".to_owned());
    }
    Ok(())
}

/// Checks an endpoint against the record that it is handed over for.
pub(super) fn check_endpoint(record: &Record, spec: &EndpointSpec) -> Result<(), EndpointError> {
    if spec.host_ifindex == 0 {
        return wrong("hostIfindex", "is 0: give the index of the host interface".to_owned());
    }
    let own_name = host_ifname(&record.key);
    match record.origin {
        Origin::Created if spec.host_ifname != own_name => {
            return wrong("hostIfname", format!("{:?} is not the leased name {own_name}", spec.host_ifname));
        }
        Origin::Adopted if spec.host_ifname.is_empty() => {
            return wrong("hostIfname", "is empty: give the name of the host interface".to_owned());
        }
        Origin::Created | Origin::Adopted => {}
    }
    for (field, mac) in [("hostMac", spec.host_mac), ("podMac", spec.pod_mac)] {
        if !mac.is_unicast() {
            return wrong(field, format!("{mac} is not a unicast address"));
        }
    }
    let given: BTreeSet<_> = spec.addresses.iter().collect();
    if given.is_empty() || given.len() != spec.addresses.len() {
        return wrong("addresses", "must be one or more, each once".to_owned());
    }
    if !record.leased.is_empty() && given != record.leased.iter().collect() {
        return wrong("addresses", "are not those that were leased: hand over exactly those".to_owned());
    }
    check_ports(&spec.ports, &spec.addresses)?;
    check_bandwidth(spec.bandwidth)
}

/// Each must be possible by itself, and beside the others.
fn check_ports(ports: &[PortMapping], addresses: &[IpAddr]) -> Result<(), EndpointError> {
    let refuse = |index, field, problem| Err(EndpointError::Port { index, field, problem });
    for (index, mapping) in ports.iter().enumerate() {
        for (field, port) in [("hostPort", mapping.host_port), ("containerPort", mapping.container_port)] {
            if port == 0 {
                return refuse(index, field, "is 0: give a port from 1 to 65535".to_owned());
            }
        }
        if let Some(host) = mapping.host_ip
            && (host.is_multicast() || host != host.to_canonical())
        {
            return refuse(index, "hostIP", format!("is {host}, which no node can have: give an address of the node"));
        }
        if let Some(host) = mapping.host_ip
            && !addresses.iter().any(|address| mapping.serves(*address))
        {
            let family = if host.is_ipv4() { "IPv4" } else { "IPv6" };
            return refuse(index, "hostIP", format!("is {host}, but the pod has no {family} address: leave it out"));
        }
        if let Some(first) = ports[..index].iter().position(|earlier| earlier.overlaps(mapping)) {
            return refuse(
                index,
                "hostPort",
                format!("asks for {mapping}, as portMappings[{first}] does: leave one out"),
            );
        }
    }
    Ok(())
}

/// Whether these limits can be held.
pub(super) fn check_bandwidth(bandwidth: Bandwidth) -> Result<(), EndpointError> {
    for (field, limit) in [("bandwidth.ingress:", bandwidth.ingress), ("bandwidth.egress:", bandwidth.egress)] {
        if let Some(Err(error)) = limit.map(|limit| limit.check()) {
            return wrong(field, error.to_string());
        }
    }
    Ok(())
}

fn wrong(field: &'static str, problem: String) -> Result<(), EndpointError> {
    Err(EndpointError::Invalid { field, problem })
}
