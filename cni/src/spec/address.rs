//! Addresses that a runtime asks for.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

/// An address as `ips` and `IP` carry it: with or without the length of a prefix, which is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct RequestedAddress(pub(crate) IpAddr);

/// The text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IP address: write it as 10.1.2.3 or 10.1.2.3/24")]
pub(crate) struct ParseAddressError(String);

impl FromStr for RequestedAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => text.parse::<IpNet>().map_err(|_| ParseAddressError(text.to_owned()))?.addr(),
        };
        Ok(Self(address))
    }
}

impl TryFrom<String> for RequestedAddress {
    type Error = ParseAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_optional() {
        for (text, address) in [("10.1.2.3", "10.1.2.3"), ("10.1.2.3/24", "10.1.2.3"), ("fd00::5/64", "fd00::5")] {
            assert_eq!(text.parse(), Ok(RequestedAddress(address.parse().unwrap())));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "10.1.2", "10.1.2.3/33", "10.1.2.3/", "fd00::5/129", "010.1.2.3", " 10.1.2.3", "pod"] {
            assert!(text.parse::<RequestedAddress>().is_err(), "{text}");
        }
    }
}
