//! `runtimeConfig`: the capabilities that a runtime passes on (CONVENTIONS.md of the specification).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::mac::Mac;
use crate::spec::address::RequestedAddress;
use crate::spec::bandwidth::Bandwidth;
use crate::spec::port_mapping::PortMapping;
use crate::spec::range::SubnetRange;
use crate::spec::result::Dns;

/// Every capability that weft knows; types are checked while decoding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ips: Vec<RequestedAddress>,
    #[serde(default, deserialize_with = "interface_mac")]
    pub(crate) mac: Option<Mac>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) dns: RuntimeDns,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ip_ranges: Vec<Vec<SubnetRange>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) port_mappings: Vec<PortMapping>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) bandwidth: Bandwidth,
    /// Capabilities that the configuration declares and weft does not know.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

/// The `dns` capability: a resolver's lines under the names that runtimes use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuntimeDns {
    #[serde(default, alias = "Servers", alias = "nameservers", deserialize_with = "or_default")]
    servers: Vec<IpAddr>,
    #[serde(default, alias = "Searches", alias = "search", deserialize_with = "or_default")]
    searches: Vec<String>,
    #[serde(default, alias = "Domain", deserialize_with = "or_default")]
    domain: String,
    #[serde(default, alias = "Options", deserialize_with = "or_default")]
    options: Vec<String>,
}

impl From<RuntimeDns> for Dns {
    fn from(dns: RuntimeDns) -> Self {
        Self { nameservers: dns.servers, domain: dns.domain, search: dns.searches, options: dns.options }
    }
}

/// A `null` where a list or an object may stand counts as nothing: runtimes write one for an empty list.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(source: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

fn interface_mac<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Mac>, D::Error> {
    let text = Option::<String>::deserialize(source)?.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    let mac: Mac = text.parse().map_err(serde::de::Error::custom)?;
    if mac.is_unicast() { Ok(Some(mac)) } else { Err(serde::de::Error::custom(format!("{mac} is not unicast"))) }
}

/// An address, or an empty text for any.
pub(crate) fn optional_address<'de, D: Deserializer<'de>>(source: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(source)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is not an IP address"))))
        .transpose()
}
