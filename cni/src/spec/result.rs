//! What ADD returns (section 5), in the shape of every version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::runtime_config::{optional_address, or_default};
use crate::spec::version::{UnsupportedVersion, Version};

/// The result of an ADD. Fields are those of the newest version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddResult {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) ips: Vec<IpConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) routes: Vec<Route>,
    #[serde(default, skip_serializing_if = "Dns::is_empty", deserialize_with = "or_default")]
    pub(crate) dns: Dns,
}

/// An interface, in the container when it has a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interface {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) sandbox: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket_path: Option<String>,
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub(crate) pci_id: Option<String>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IpConfig {
    /// The family's number: only in 0.3.0 to 0.4.0, where it follows from the address.
    #[serde(default, skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub(crate) version: Option<&'static str>,
    /// Index into the interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<usize>,
    pub(crate) address: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_address")]
    pub(crate) gateway: Option<IpAddr>,
}

/// A route in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) dst: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_address")]
    pub(crate) gw: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) advmss: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<u8>,
}

/// What a container's resolver should use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dns {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) nameservers: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) domain: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) search: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) options: Vec<String>,
}

/// The result's shape before 0.3.0: at most one address of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OldResult {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp>,
    #[serde(default, skip_serializing_if = "Dns::is_empty", deserialize_with = "or_default")]
    dns: Dns,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OldIp {
    ip: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_address")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    routes: Vec<Route>,
}

/// A result cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    #[error("not an object")]
    NotAnObject,
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    #[error("cniVersion is {0}: it must be a string")]
    VersionType(Value),
    #[error("{path}: {source}")]
    Field { path: String, source: serde_json::Error },
}

impl Dns {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// A route with nothing but its destination.
    pub(crate) fn to(dst: IpNet) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// Without what came with 1.1.0.
    fn plain(self) -> Self {
        Self { gw: self.gw, ..Self::to(self.dst) }
    }
}

impl AddResult {
    /// Reads a result in the shape of its own version, or of `configured` where it names none. Returns that version
    /// as well.
    pub(crate) fn decode(value: Value, configured: Version) -> Result<(Self, Version), ResultError> {
        if !value.is_object() {
            return Err(ResultError::NotAnObject);
        }
        let version = match value.get("cniVersion") {
            None | Some(Value::Null) => configured,
            Some(Value::String(text)) if text.is_empty() => configured,
            Some(Value::String(text)) => text.parse()?,
            Some(other) => return Err(ResultError::VersionType(other.clone())),
        };
        let result = if version < Version::V0_3_0 { field::<OldResult>(value)?.into() } else { field(value)? };
        Ok((result, version))
    }

    /// The result in the shape of `version`; what that version has no place for is left out.
    pub(crate) fn encode(self, version: Version) -> Result<Value, serde_json::Error> {
        let mut value = if version < Version::V0_3_0 {
            serde_json::to_value(OldResult::from(self))?
        } else {
            serde_json::to_value(self.reduced(version))?
        };
        if let Value::Object(object) = &mut value {
            object.insert("cniVersion".to_owned(), version.as_str().into());
        }
        Ok(value)
    }

    fn reduced(mut self, version: Version) -> Self {
        if version < Version::V1_1_0 {
            for interface in &mut self.interfaces {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
            }
            for route in &mut self.routes {
                *route = route.plain();
            }
        }
        if version < Version::V1_0_0 {
            for ip in &mut self.ips {
                ip.version = Some(if ip.address.addr().is_ipv4() { "4" } else { "6" });
            }
        }
        self
    }
}

impl From<OldResult> for AddResult {
    fn from(old: OldResult) -> Self {
        let mut result = Self { dns: old.dns, ..Self::default() };
        for ip in old.ip4.into_iter().chain(old.ip6) {
            result.ips.push(IpConfig { version: None, interface: None, address: ip.ip, gateway: ip.gateway });
            result.routes.extend(ip.routes);
        }
        result
    }
}

impl From<AddResult> for OldResult {
    fn from(result: AddResult) -> Self {
        let of_family = |ipv4: bool| {
            let ip = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == ipv4)?;
            let routes = result.routes.iter().filter(|route| route.dst.addr().is_ipv4() == ipv4);
            Some(OldIp { ip: ip.address, gateway: ip.gateway, routes: routes.copied().map(Route::plain).collect() })
        };
        Self { ip4: of_family(true), ip6: of_family(false), dns: result.dns }
    }
}

fn field<'de, T: Deserialize<'de>>(value: Value) -> Result<T, ResultError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| ResultError::Field { path: error.path().to_string(), source: error.into_inner() })
}

#[cfg(test)]
mod tests;
