//! One entry of the `portMappings` capability, as `portmap` takes it.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{self, PortProtocol};

/// Runtimes that encode Go structures without tags begin the names with a capital.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(alias = "HostPort", deserialize_with = "port")]
    host_port: u16,
    #[serde(alias = "ContainerPort", deserialize_with = "port")]
    container_port: u16,
    #[serde(default, alias = "Protocol", deserialize_with = "protocol")]
    protocol: PortProtocol,
    #[serde(default, rename = "hostIP", alias = "HostIP", deserialize_with = "host_ip")]
    host_ip: Option<IpAddr>,
}

/// A port of the node and the pod's behind it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct PortMapping(pub(crate) api::PortMapping);

impl TryFrom<Written> for PortMapping {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { host_port, container_port, protocol, host_ip } = written;
        // SCTP's checksum covers its ports and the whole packet: too much to change under way.
        if protocol == PortProtocol::Sctp && host_port != container_port {
            return Err(format!(
                "an sctp port of the node has to be the container's: write {container_port} for hostPort {host_port}"
            ));
        }
        Ok(Self(api::PortMapping { host_ip, host_port, container_port, protocol }))
    }
}

fn port<'de, D: Deserializer<'de>>(source: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(source)?;
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    port.ok_or_else(|| refused(format!("{value} is no port: write a whole number from 1 to 65535")))
}

/// TCP, unless it is said.
fn protocol<'de, D: Deserializer<'de>>(source: D) -> Result<PortProtocol, D::Error> {
    let value = Value::deserialize(source)?;
    let protocols = [PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp];
    match &value {
        Value::Null => Ok(PortProtocol::default()),
        Value::String(name) if name.is_empty() => Ok(PortProtocol::default()),
        Value::String(name) => {
            protocols.into_iter().find(|protocol| name.eq_ignore_ascii_case(&protocol.to_string())).ok_or(&value)
        }
        _ => Err(&value),
    }
    .map_err(|value| refused(format!("{value} has no ports that can be mapped: write \"tcp\", \"udp\" or \"sctp\"")))
}

/// An address of the node, or an empty text for every one.
fn host_ip<'de, D: Deserializer<'de>>(source: D) -> Result<Option<IpAddr>, D::Error> {
    let value = Value::deserialize(source)?;
    let text = match &value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.as_str(),
        _ => "",
    };
    let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
    let usable = |address: &IpAddr| !address.is_multicast() && *address != IpAddr::from([255; 4]);
    address.ok().filter(usable).map(Some).ok_or_else(|| {
        refused(format!("{value} is no address that a node can have: write one, or leave it out for all of the node's"))
    })
}

fn refused<E: serde::de::Error>(problem: String) -> E {
    E::custom(problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<api::PortMapping, String> {
        serde_json::from_value::<PortMapping>(value).map(|mapping| mapping.0).map_err(|error| error.to_string())
    }

    #[test]
    fn what_runtimes_write_is_understood() {
        let web = |host_ip: Option<&str>, protocol| api::PortMapping {
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            host_port: 8080,
            container_port: 80,
            protocol,
        };
        for (written, mapping) in [
            (json!({"hostPort": 8080, "containerPort": 80}), web(None, PortProtocol::Tcp)),
            (
                json!({"hostPort": 8080, "containerPort": 80, "protocol": "", "hostIP": ""}),
                web(None, PortProtocol::Tcp),
            ),
            (
                json!({"hostPort": 8080, "containerPort": 80, "protocol": null, "hostIP": null}),
                web(None, PortProtocol::Tcp),
            ),
            (
                json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "udp", "HostIP": ""}),
                web(None, PortProtocol::Udp),
            ),
            (
                json!({"hostPort": 8080, "containerPort": 8080, "protocol": "SCTP", "hostIP": "0.0.0.0"}),
                api::PortMapping { container_port: 8080, ..web(Some("0.0.0.0"), PortProtocol::Sctp) },
            ),
            (
                json!({"hostPort": 8080, "containerPort": 80, "hostIP": "::ffff:192.0.2.1"}),
                web(Some("192.0.2.1"), PortProtocol::Tcp),
            ),
            (json!({"hostPort": 8080, "containerPort": 80, "hostIP": "::1"}), web(Some("::1"), PortProtocol::Tcp)),
        ] {
            assert_eq!(parse(written.clone()), Ok(mapping), "{written}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_what_would_be_right() {
        for (key, value, part) in [
            ("hostPort", json!(0), "0 is no port"),
            ("hostPort", json!(65536), "65535"),
            ("hostPort", json!(-1), "-1"),
            ("hostPort", json!(80.5), "80.5"),
            ("containerPort", json!("80"), "\"80\" is no port"),
            ("containerPort", json!(null), "null"),
            ("protocol", json!("icmp"), "\"icmp\""),
            ("protocol", json!(6), "sctp"),
            ("protocol", json!("sctp"), "write 80 for hostPort 8080"),
            ("hostIP", json!("eth0"), "\"eth0\""),
            ("hostIP", json!("10.0.0.0/8"), "10.0.0.0/8"),
            ("hostIP", json!("224.0.0.1"), "224.0.0.1"),
            ("hostIP", json!("255.255.255.255"), "255.255.255.255"),
            ("hostIP", json!("fe80::1%eth0"), "fe80::1%eth0"),
            ("hostIP", json!(7), "7"),
            ("hostIp", json!("192.0.2.1"), "hostIp"),
        ] {
            let mut written = json!({"hostPort": 8080, "containerPort": 80});
            written[key] = value;
            let error = parse(written.clone()).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
        }
        for missing in ["hostPort", "containerPort"] {
            let mut written = json!({"hostPort": 8080, "containerPort": 80});
            written.as_object_mut().unwrap().remove(missing);
            assert!(parse(written).unwrap_err().contains(missing));
        }
    }
}
