//! `ports`: which ports of the node are an endpoint's, and what is left of its flows when it is gone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_abi::{FlowFlags, HostPort, PORTS_MAX, Target, map};
use weft_cni::api::PortMapping;

use super::maps::{Maps, full_or, of};
use super::plain::Put;
use super::{Datapath, DatapathError};
use crate::endpoint::Endpoint;

impl Maps {
    /// Writes the endpoint's entries; on failure those that were not there before go again.
    pub(super) fn write_ports(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let mut new = Vec::new();
        for (target, port) in entries_of(endpoint)? {
            let before = self.ports.get(&target).map_err(of("look-up", map::PORTS))?;
            if before == Some(port) {
                continue;
            }
            if let Err(failed) = self.ports.put(&target, &port, Put::Any) {
                self.ports.delete_all(&new).map_err(of("delete", map::PORTS))?;
                return Err(full_or(map::PORTS, PORTS_MAX)(failed));
            }
            if before.is_none() {
                new.push(target);
            }
        }
        Ok(())
    }

    /// Removes the endpoint's entries; those that are another endpoint's by now stay.
    pub(super) fn erase_ports(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        for mapping in &endpoint.spec.ports {
            for address in mapping.destinations(&endpoint.spec.addresses) {
                let target = target(mapping, address);
                let found = self.ports.get(&target).map_err(of("look-up", map::PORTS))?;
                if found.is_some_and(|port| port.endpoint_id == endpoint.id) {
                    self.ports.delete(&target).map_err(of("delete", map::PORTS))?;
                }
            }
        }
        Ok(())
    }

    /// Compares the entries with the endpoint.
    pub(super) fn verify_ports(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        for (target, port) in entries_of(endpoint)? {
            let found = self.ports.get(&target).map_err(of("look-up", map::PORTS))?;
            if found != Some(port) {
                return Err(DatapathError::NoPort { port: written(&target) });
            }
        }
        if endpoint.spec.ports.is_empty() || self.node()?.ports != 0 {
            Ok(())
        } else {
            Err(DatapathError::PortsUnknown)
        }
    }

    /// Removes the entries for which `keep` is false; how many.
    pub(super) fn retain_ports(&self, keep: impl Fn(&Target, &HostPort) -> bool) -> Result<usize, DatapathError> {
        let all = self.ports.all().map_err(of("iterate", map::PORTS))?.into_iter();
        let stale: Vec<_> = all.filter(|(target, port)| !keep(target, port)).map(|(target, _)| target).collect();
        self.ports.delete_all(&stale).map_err(of("delete", map::PORTS))?;
        Ok(stale.len())
    }

    /// Entries now.
    pub(super) fn count_ports(&self) -> Result<u32, DatapathError> {
        let mut count = 0_usize;
        self.ports.visit(|targets, _| count += targets.len()).map_err(of("iterate", map::PORTS))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Datapath {
    /// Forgets every flow that came to the endpoint, which is detached, by a port of the node.
    ///
    /// The programs take none of them for a flow any more: this makes room.
    ///
    /// # Errors
    /// A table cannot be read or changed.
    pub(crate) fn forget_flows(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let mut doomed = Vec::new();
        self.visit_nat(|keys, values| {
            let void = |nat: &weft_abi::Nat| nat.flags & FlowFlags::PORT != 0 && nat.endpoint_id == endpoint.id;
            doomed.extend(keys.iter().zip(values).filter(|(_, nat)| void(nat)).map(|(key, nat)| (*key, *nat)));
        })?;
        for (key, nat) in doomed {
            let flow = key.inside_as(nat.inside, nat.inside_port);
            let back = self.nat(&key)?;
            if back.is_some_and(|nat| nat.endpoint_id != endpoint.id) {
                continue;
            }
            // Another pod may have the address by now, and its flow the tuple.
            let own =
                self.flow(&flow)?.is_some_and(|flow| (flow.nat_addr, flow.nat_port) == (key.inside, key.inside_port));
            if own {
                self.remove_flow(&flow)?;
            }
            if back.is_some() {
                self.remove_nat(&key)?;
            }
        }
        Ok(())
    }
}

/// The entries of an endpoint: one for each mapping and family.
pub(super) fn entries_of(endpoint: &Endpoint) -> Result<Vec<(Target, HostPort)>, DatapathError> {
    let mut entries = Vec::new();
    for mapping in &endpoint.spec.ports {
        let before = entries.len();
        entries.extend(mapping.destinations(&endpoint.spec.addresses).map(|address| {
            let port = mapping.container_port.to_be();
            let port = HostPort { pod: address.into(), port, pad: 0, endpoint_id: endpoint.id };
            (target(mapping, address), port)
        }));
        if entries.len() == before {
            return Err(DatapathError::PortFamily { port: mapping.to_string() });
        }
    }
    Ok(entries)
}

/// What is asked for of the node, to be sent to that address of a pod.
fn target(mapping: &PortMapping, address: IpAddr) -> Target {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Target {
        addr: mapping.host_ip.unwrap_or(any).into(),
        port: mapping.host_port.to_be(),
        protocol: mapping.protocol.number(),
        pad: 0,
    }
}

fn written(target: &Target) -> String {
    let address = std::net::SocketAddr::new(target.addr.into(), u16::from_be(target.port));
    format!("{address} (protocol {})", target.protocol)
}

#[cfg(test)]
mod tests {
    use weft_cni::api::{Bandwidth, EndpointSpec, Origin, PortProtocol};
    use weft_cni::mac::Mac;

    use super::*;

    fn endpoint(addresses: &[&str], host_ip: Option<&str>, protocol: PortProtocol) -> Endpoint {
        let mapping = PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            container_port: 80,
            protocol,
        };
        let spec = EndpointSpec {
            host_ifname: "weft00000000001".into(),
            host_ifindex: 9,
            host_mac: Mac([2, 0, 0, 0, 0, 2]),
            pod_mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            mtu: 1500,
            ports: vec![mapping],
            bandwidth: Bandwidth::default(),
        };
        Endpoint { id: 3, origin: Origin::Created, spec }
    }

    fn targets(host_ip: Option<&str>) -> Vec<String> {
        let entries = entries_of(&endpoint(&["10.244.0.7", "fd00::7"], host_ip, PortProtocol::Tcp)).unwrap();
        assert!(entries.iter().all(|(_, port)| (port.port, port.endpoint_id) == (80_u16.to_be(), 3)));
        let (v4, v6) = ("10.244.0.7".parse::<IpAddr>().unwrap().into(), "fd00::7".parse::<IpAddr>().unwrap().into());
        assert!(entries.iter().all(|(target, port)| port.pod == if target.addr.is_v4() { v4 } else { v6 }));
        entries.iter().map(|(target, _)| IpAddr::from(target.addr).to_string()).collect()
    }

    #[test]
    fn a_mapping_means_what_it_says() {
        assert_eq!(targets(None), ["0.0.0.0", "::"]);
        assert_eq!(targets(Some("0.0.0.0")), ["0.0.0.0"]);
        assert_eq!(targets(Some("::")), ["::"]);
        assert_eq!(targets(Some("192.0.2.1")), ["192.0.2.1"]);
        assert_eq!(targets(Some("::1")), ["::1"]);
    }

    #[test]
    fn a_mapping_that_cannot_be_served_is_refused() {
        let refused = |endpoint: &Endpoint| entries_of(endpoint).unwrap_err().to_string();
        let only_v4 = endpoint(&["10.244.0.7"], Some("::"), PortProtocol::Udp);
        assert!(refused(&only_v4).contains("udp [::]:8080"), "{}", refused(&only_v4));
    }
}
