//! One entry of the `ipRanges` capability, as `host-local` writes its ranges.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::api::IpRange;
use crate::spec::runtime_config::optional_address;

/// The key as it is written; runtimes that encode Go structures without tags begin the names with a capital.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(alias = "Subnet")]
    subnet: IpNet,
    #[serde(default, alias = "RangeStart", deserialize_with = "optional_address")]
    range_start: Option<IpAddr>,
    #[serde(default, alias = "RangeEnd", deserialize_with = "optional_address")]
    range_end: Option<IpAddr>,
    #[serde(default, alias = "Gateway", deserialize_with = "optional_address")]
    gateway: Option<IpAddr>,
}

/// A subnet's addresses that may be handed out: one range, or two around the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct SubnetRange(pub(crate) Vec<IpRange>);

/// The entry contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeError {
    #[error("subnet {0} has host bits set: write {network}", network = .0.trunc())]
    HostBits(IpNet),
    #[error("subnet {0} is too small to hand out addresses")]
    TooSmall(IpNet),
    #[error("{field} {address} lies outside of subnet {subnet}")]
    Outside { field: &'static str, address: IpAddr, subnet: IpNet },
    #[error("rangeStart {0} comes after rangeEnd {1}")]
    Order(IpAddr, IpAddr),
    #[error("nothing is left of subnet {0} without its gateway")]
    OnlyGateway(IpNet),
}

impl TryFrom<Written> for SubnetRange {
    type Error = RangeError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let subnet = written.subnet;
        if subnet != subnet.trunc() {
            return Err(RangeError::HostBits(subnet));
        }
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            return Err(RangeError::TooSmall(subnet));
        }
        let inside = |field, address: Option<IpAddr>| match address {
            Some(address) if !subnet.contains(&address) => Err(RangeError::Outside { field, address, subnet }),
            other => Ok(other),
        };
        // The first address names the subnet; the last is IPv4's broadcast address.
        let last = if subnet.addr().is_ipv4() { before(subnet.broadcast()) } else { Some(subnet.broadcast()) };
        let start = inside("rangeStart", written.range_start)?.or(after(subnet.network()));
        let end = inside("rangeEnd", written.range_end)?.or(last);
        let gateway = inside("gateway", written.gateway)?;
        let (Some(start), Some(end)) = (start, end) else { return Err(RangeError::TooSmall(subnet)) };
        if start > end {
            return Err(RangeError::Order(start, end));
        }
        let ranges = without(start, end, gateway);
        if ranges.is_empty() { Err(RangeError::OnlyGateway(subnet)) } else { Ok(Self(ranges)) }
    }
}

fn without(start: IpAddr, end: IpAddr, gateway: Option<IpAddr>) -> Vec<IpRange> {
    let Some(gateway) = gateway.filter(|gateway| (start..=end).contains(gateway)) else {
        return vec![IpRange { start, end }];
    };
    let below = before(gateway).filter(|end| *end >= start).map(|end| IpRange { start, end });
    let above = after(gateway).filter(|start| *start <= end).map(|start| IpRange { start, end });
    below.into_iter().chain(above).collect()
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(u32::from(address).checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(u128::from(address).checked_add(1)?.into())),
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(IpAddr::V4(u32::from(address).checked_sub(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(u128::from(address).checked_sub(1)?.into())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(text: &str) -> Result<Vec<String>, String> {
        let range: SubnetRange = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(range.0.iter().map(|range| format!("{}-{}", range.start, range.end)).collect())
    }

    #[test]
    fn bounds_default_to_the_subnets() {
        assert_eq!(ranges(r#"{"subnet":"10.1.2.0/24"}"#).unwrap(), ["10.1.2.1-10.1.2.254"]);
        assert_eq!(ranges(r#"{"subnet":"fd00::/126"}"#).unwrap(), ["fd00::1-fd00::3"]);
        let text = r#"{"Subnet":"10.1.2.0/30","RangeStart":"","RangeEnd":"","Gateway":""}"#;
        assert_eq!(ranges(text).unwrap(), ["10.1.2.1-10.1.2.2"]);
    }

    #[test]
    fn the_gateway_is_left_out() {
        let text = r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.2.3","rangeEnd":"10.1.2.9","gateway":"10.1.2.5"}"#;
        assert_eq!(ranges(text).unwrap(), ["10.1.2.3-10.1.2.4", "10.1.2.6-10.1.2.9"]);
        let text = r#"{"subnet":"10.1.2.0/24","gateway":"10.1.2.1"}"#;
        assert_eq!(ranges(text).unwrap(), ["10.1.2.2-10.1.2.254"]);
    }

    #[test]
    fn contradictions_name_the_key() {
        for (text, part) in [
            (r#"{"subnet":"10.1.2.3/24"}"#, "subnet 10.1.2.3/24"),
            (r#"{"subnet":"10.1.2.0/31"}"#, "subnet 10.1.2.0/31"),
            (r#"{"subnet":"10.1.2.0"}"#, ""),
            (r#"{"rangeStart":"10.1.2.0"}"#, "subnet"),
            (r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.3.1"}"#, "rangeStart 10.1.3.1"),
            (r#"{"subnet":"10.1.2.0/24","rangeEnd":"fd00::1"}"#, "rangeEnd fd00::1"),
            (r#"{"subnet":"10.1.2.0/24","gateway":"10.1.3.1"}"#, "gateway 10.1.3.1"),
            (r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.2.9","rangeEnd":"10.1.2.8"}"#, "rangeStart 10.1.2.9"),
            (r#"{"subnet":"10.1.2.0/24","rangestart":"10.1.2.9"}"#, "rangestart"),
            (
                r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.2.9","rangeEnd":"10.1.2.9","gateway":"10.1.2.9"}"#,
                "gateway",
            ),
        ] {
            let error = ranges(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_range_stays_in_its_subnet_and_off_its_gateway(addr: u32, len in 0_u8..=30, gateway: u32) {
            let subnet = IpNet::new(IpAddr::V4(addr.into()), len).unwrap().trunc();
            let host = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            let gateway = match subnet.network() {
                IpAddr::V4(network) => IpAddr::V4((u32::from(network) | gateway & host).into()),
                IpAddr::V6(_) => unreachable!(),
            };
            let written = Written { subnet, range_start: None, range_end: None, gateway: Some(gateway) };
            for range in SubnetRange::try_from(written).unwrap().0 {
                prop_assert!(range.start <= range.end);
                prop_assert!(range.start > subnet.network() && range.end < subnet.broadcast());
                prop_assert!(!(range.start..=range.end).contains(&gateway));
            }
        }
    }
}
