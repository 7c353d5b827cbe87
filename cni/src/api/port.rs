//! Ports of the node that are a pod's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{AttachmentKey, PodRef};

/// A port of the node that leads to a port of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortMapping {
    /// Address of the node; `0.0.0.0` and `::` mean every one of that family, nothing every one.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// Port of the node, not 0.
    pub host_port: u16,
    /// Port of the pod, not 0.
    pub container_port: u16,
    /// Which kind of port.
    pub protocol: PortProtocol,
}

impl PortMapping {
    /// Whether a packet could be meant by both: the same port of an address that both have.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.host_port == other.host_port && share(self.host_ip, other.host_ip)
    }

    /// Whether pods' addresses of that family are behind it.
    pub fn serves(&self, address: IpAddr) -> bool {
        self.host_ip.is_none_or(|host| host.is_ipv4() == address.is_ipv4())
    }

    /// Where packets go, of a pod with these addresses: its first one of each family that is mapped, IPv4 first.
    pub fn destinations(&self, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
        let first = |v4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == v4);
        [first(true), first(false)].into_iter().flatten().filter(|address| self.serves(*address))
    }
}

/// As people write it: `tcp 192.0.2.1:8080`, or `tcp port 8080` of every address.
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => write!(f, "{} port {}", self.protocol, self.host_port),
            Some(host) => write!(f, "{} {}", self.protocol, SocketAddr::new(host, self.host_port)),
        }
    }
}

/// Whether one address is among both: none stands for all of them, an unspecified one for all of its family.
pub fn share(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

/// Protocols that have ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP.
    #[default]
    #[serde(alias = "TCP")]
    Tcp,
    /// UDP.
    #[serde(alias = "UDP")]
    Udp,
    /// SCTP.
    #[serde(alias = "SCTP")]
    Sctp,
}

impl PortProtocol {
    /// Its number in an IP header (IANA).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A mapping that stands, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortInfo {
    /// The mapping.
    #[serde(flatten)]
    pub mapping: PortMapping,
    /// The agent's number for the endpoint.
    pub endpoint: u32,
    /// Whose it is.
    pub key: AttachmentKey,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// Addresses of the pod that packets are sent to, one a family that is mapped.
    pub addresses: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host: &str, protocol: PortProtocol) -> PortMapping {
        PortMapping { host_ip: host.parse().ok(), host_port: 80, container_port: 8080, protocol }
    }

    #[test]
    fn two_that_a_packet_could_mean_overlap() {
        use PortProtocol::{Tcp, Udp};
        for (one, other, overlap) in [
            ("", "", true),
            ("", "192.0.2.1", true),
            ("::", "", true),
            ("0.0.0.0", "192.0.2.1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("::", "fd00::1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0", "::", false),
            ("0.0.0.0", "::1", false),
        ] {
            let (one, other) = (mapping(one, Tcp), mapping(other, Tcp));
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (overlap, overlap), "{one} {other}");
            assert!(!one.overlaps(&PortMapping { protocol: Udp, ..other.clone() }));
            assert!(!one.overlaps(&PortMapping { host_port: 81, ..other }));
        }
    }

    #[test]
    fn mappings_are_written_as_people_do() {
        for (host, text) in [("", "udp port 80"), ("192.0.2.1", "udp 192.0.2.1:80"), ("::", "udp [::]:80")] {
            assert_eq!(mapping(host, PortProtocol::Udp).to_string(), text);
        }
    }
}
