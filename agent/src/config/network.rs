//! Settings of the network between nodes and of the way out: as given, and checked.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;

use super::{ConfigError, NetworkConfig, Overlay, paths};

/// VXLAN's port on Linux, since before it was assigned another.
const OVERLAY_PORT: u16 = 8472;
const VNI: u32 = 1;
/// RFC 7348, section 5: 24 bits.
const MAX_VNI: u32 = 0x00ff_ffff;
const FLOW_TABLE_SIZE: u32 = 131_072;
const FLOW_TABLE_SIZES: std::ops::RangeInclusive<u32> = 1024..=16_777_216;
/// `IFNAMSIZ` with its final zero.
const MAX_DEVICE_NAME: usize = 15;

/// Settings as they were given, by whichever way.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NetworkSettings {
    /// TOML file with the other nodes, read again when it changes [default: no other nodes]
    #[arg(long, value_name = "FILE", env = "WEFT_PEERS")]
    pub(super) peers: Option<PathBuf>,
    /// How packets reach pods of other nodes: overlay or native [default: overlay]
    #[arg(long, value_name = "HOW", env = "WEFT_ROUTING")]
    pub(super) routing: Option<String>,
    /// UDP port of the overlay, the same on every node [default: 8472]
    #[arg(long, value_name = "PORT", env = "WEFT_OVERLAY_PORT")]
    pub(super) overlay_port: Option<u32>,
    /// Number of the overlay's network, the same on every node [default: 1]
    #[arg(long, value_name = "NUMBER", env = "WEFT_VNI")]
    pub(super) vni: Option<u32>,
    /// Devices that lead off the node; a name may end in * [default: found by the routes]
    #[arg(long, value_name = "NAME", env = "WEFT_DEVICES", value_delimiter = ',')]
    pub(super) devices: Option<Vec<String>>,
    /// The node's address, one of a family, as other nodes know it [default: its uplink's]
    #[arg(long, value_name = "ADDRESS", env = "WEFT_NODE_IP", value_delimiter = ',')]
    pub(super) node_ip: Option<Vec<String>>,
    /// Whether pods' packets to the world leave with the node's address [default: true]
    #[arg(long, value_name = "BOOL", env = "WEFT_MASQUERADE")]
    pub(super) masquerade: Option<bool>,
    /// Range that pods reach with their own addresses, beside all pods' ranges
    #[arg(long, value_name = "CIDR", env = "WEFT_MASQ_EXEMPT", value_delimiter = ',')]
    pub(super) masq_exempt: Option<Vec<String>>,
    /// With native routing, whether to make the routes to nodes of the same link [default: true]
    #[arg(long, value_name = "BOOL", env = "WEFT_DIRECT_NODE_ROUTES")]
    pub(super) direct_node_routes: Option<bool>,
    /// Whether packets that leave the node go around its stack where they can [default: true]
    #[arg(long, value_name = "BOOL", env = "WEFT_HOST_ROUTING")]
    pub(super) host_routing: Option<bool>,
    /// Room for tracked flows, and as many translations [default: 131072]
    #[arg(long, value_name = "ENTRIES", env = "WEFT_FLOW_TABLE_SIZE")]
    pub(super) flow_table_size: Option<u32>,
}

impl NetworkSettings {
    /// These settings, and for what they leave open the `other` ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            peers: self.peers.or(other.peers),
            routing: self.routing.or(other.routing),
            overlay_port: self.overlay_port.or(other.overlay_port),
            vni: self.vni.or(other.vni),
            devices: self.devices.or(other.devices),
            node_ip: self.node_ip.or(other.node_ip),
            masquerade: self.masquerade.or(other.masquerade),
            masq_exempt: self.masq_exempt.or(other.masq_exempt),
            direct_node_routes: self.direct_node_routes.or(other.direct_node_routes),
            host_routing: self.host_routing.or(other.host_routing),
            flow_table_size: self.flow_table_size.or(other.flow_table_size),
        }
    }

    pub(super) fn into_config(self) -> Result<NetworkConfig, ConfigError> {
        let port = self.overlay_port.unwrap_or(OVERLAY_PORT.into());
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or(ConfigError::Number {
            field: "overlay-port",
            given: port,
            least: 1,
            most: u16::MAX.into(),
        })?;
        let vni = within("vni", self.vni.unwrap_or(VNI), &(1..=MAX_VNI))?;
        let overlay = match self.routing.as_deref() {
            None | Some("overlay") => Some(Overlay { port, vni }),
            Some("native") => None,
            Some(text) => return Err(ConfigError::Routing { text: text.to_owned() }),
        };
        Ok(NetworkConfig {
            peers: self.peers.map(|path| paths::absolute("peers", &path)).transpose()?,
            overlay,
            devices: devices(self.devices.unwrap_or_default())?,
            node_ip: node_ip(&self.node_ip.unwrap_or_default())?,
            masquerade: self.masquerade.unwrap_or(true),
            masq_exempt: masq_exempt(&self.masq_exempt.unwrap_or_default())?,
            direct_node_routes: self.direct_node_routes.unwrap_or(true),
            host_routing: self.host_routing.unwrap_or(true),
            flow_table_size: within(
                "flow-table-size",
                self.flow_table_size.unwrap_or(FLOW_TABLE_SIZE),
                &FLOW_TABLE_SIZES,
            )?,
        })
    }
}

fn within(field: &'static str, given: u32, range: &std::ops::RangeInclusive<u32>) -> Result<u32, ConfigError> {
    let (least, most) = (*range.start(), *range.end());
    if range.contains(&given) { Ok(given) } else { Err(ConfigError::Number { field, given, least, most }) }
}

fn devices(names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    for name in &names {
        let stem = name.strip_suffix('*').unwrap_or(name);
        let wrong = |c: char| c.is_whitespace() || c.is_control() || "/:*".contains(c);
        if name.is_empty() || name.len() > MAX_DEVICE_NAME || stem.contains(wrong) || [".", "..", "lo"].contains(&stem)
        {
            return Err(ConfigError::Device { name: name.clone() });
        }
    }
    Ok(names)
}

fn node_ip(texts: &[String]) -> Result<Vec<IpAddr>, ConfigError> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in texts {
        let wrong = || ConfigError::NodeIp { text: text.clone() };
        let address: IpAddr = text.trim().parse().map_err(|_| wrong())?;
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return Err(wrong());
        }
        if let Some(first) = addresses.iter().find(|other| other.is_ipv4() == address.is_ipv4()) {
            return Err(ConfigError::NodeIpTwice { first: *first, second: address });
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn masq_exempt(texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |text: &String| {
        let given: IpNet = text.trim().parse().map_err(|_| ConfigError::MasqExempt { text: text.clone() })?;
        if given == given.trunc() {
            Ok(given)
        } else {
            Err(ConfigError::MasqExemptHostBits { given, network: given.trunc() })
        }
    };
    texts.iter().map(parse).collect()
}
