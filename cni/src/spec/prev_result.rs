//! `prevResult`: what the plugins before this one made, or what ADD returned in the end.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::spec::result::{AddResult, Interface, ResultError};
use crate::spec::version::Version;

/// A previous result, read and as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrevResult {
    pub(crate) result: AddResult,
    written: Value,
    version: Version,
}

/// The previous result cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrevResultError {
    #[error("prevResult is missing: CHECK compares with it")]
    Missing,
    #[error("prevResult: {0}")]
    Result(#[from] ResultError),
    #[error("prevResult.interfaces has no {ifname} with sandbox {netns}")]
    NoInterface { ifname: String, netns: String },
    #[error("prevResult.interfaces: {ifname} is of kind {kind}, but weft-cni adopts only a veth pair")]
    NoVeth { ifname: String, kind: String },
    #[error("prevResult.interfaces: the other end of {ifname} is not in this node's network namespace")]
    PeerElsewhere { ifname: String },
    #[error("prevResult.ips has no address for {ifname}")]
    NoAddress { ifname: String },
}

impl PrevResult {
    /// Reads it in its own version, or in the configuration's where it names none.
    pub(crate) fn decode(written: Value, configured: Version) -> Result<Self, PrevResultError> {
        let (result, version) = AddResult::decode(written.clone(), configured)?;
        Ok(Self { result, written, version })
    }

    /// Passes it on: unchanged within its version, else in the shape of `version`.
    pub(crate) fn encode(self, version: Version) -> Result<Value, serde_json::Error> {
        if version != self.version {
            return self.result.encode(version);
        }
        let mut value = self.written;
        if let Value::Object(object) = &mut value {
            object.insert("cniVersion".to_owned(), version.as_str().into());
        }
        Ok(value)
    }

    /// The container's interface of that name, and its index.
    pub(crate) fn interface(&self, ifname: &str, netns: &str) -> Result<(usize, &Interface), PrevResultError> {
        let mut interfaces = self.result.interfaces.iter().enumerate();
        let found = interfaces.find(|(_, interface)| interface.name == ifname && interface.sandbox == netns);
        found.ok_or_else(|| PrevResultError::NoInterface { ifname: ifname.to_owned(), netns: netns.to_owned() })
    }

    /// Addresses of the interface with that index; an address that names no interface counts as its own.
    pub(crate) fn networks(&self, index: usize) -> Vec<IpNet> {
        let own = self.result.ips.iter().filter(|ip| ip.interface.is_none_or(|interface| interface == index));
        own.map(|ip| ip.address).collect()
    }

    /// The same addresses without their prefixes, IPv4 first.
    pub(crate) fn addresses(&self, index: usize) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.networks(index).iter().map(IpNet::addr).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/a", "vendor": "x"}, {"name": "net1", "sandbox": "/a"}],
            "ips": [
                {"address": "fd00::5/64", "interface": 1},
                {"address": "10.1.0.5/24", "interface": 1},
                {"address": "10.2.0.5/24", "interface": 2},
                {"address": "10.3.0.5/24"},
            ],
            "vendor": {"kept": true},
        })
    }

    #[test]
    fn within_a_version_nothing_is_lost() {
        let prev = PrevResult::decode(sample(), Version::V1_1_0).unwrap();
        assert_eq!(prev.clone().encode(Version::V1_0_0).unwrap(), sample());
        let newer = prev.encode(Version::V1_1_0).unwrap();
        assert_eq!(newer["cniVersion"], "1.1.0");
        assert_eq!(newer["ips"], sample()["ips"]);
    }

    #[test]
    fn addresses_belong_to_the_interface_they_name() {
        let prev = PrevResult::decode(sample(), Version::V1_0_0).unwrap();
        let (index, _) = prev.interface("eth0", "/a").unwrap();
        assert_eq!(index, 1);
        let texts: Vec<_> = prev.addresses(index).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.1.0.5", "10.3.0.5", "fd00::5"]);
        assert!(prev.interface("eth0", "/b").is_err() && prev.interface("br0", "/a").is_err());
    }

    #[test]
    fn its_own_version_decides_the_shape() {
        let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/24"}});
        assert_eq!(PrevResult::decode(old, Version::V1_1_0).unwrap().result.ips.len(), 1);
        let unnamed = json!({"ip4": {"ip": "10.1.0.5/24"}});
        assert_eq!(PrevResult::decode(unnamed.clone(), Version::V0_1_0).unwrap().result.ips.len(), 1);
        assert_eq!(PrevResult::decode(unnamed, Version::V1_1_0).unwrap().result.ips.len(), 0);
    }

    #[test]
    fn errors_name_the_key() {
        for value in [json!({"cniVersion": "7.0.0"}), json!({"cniVersion": 7}), json!({"ips": [{}]}), json!([])] {
            let error = PrevResult::decode(value, Version::V1_1_0).unwrap_err().to_string();
            assert!(error.starts_with("prevResult"), "{error}");
        }
    }
}
