//! Pod ranges: what may be one.

use std::net::IpAddr;

use ipnet::IpNet;

/// A pod range cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// No range at all.
    #[error("pod-cidr is missing: a standalone agent needs one or more, as --pod-cidr 10.244.0.0/24")]
    Missing,
    /// Not `address/length`.
    #[error("pod-cidr {text:?} is not a range: write it as 10.244.0.0/24 or fd00:10:244::/64")]
    Malformed {
        /// As given.
        text: String,
    },
    /// The address has bits behind the prefix.
    #[error("pod-cidr {given} has host bits set: the network would be {network}")]
    HostBits {
        /// As given.
        given: IpNet,
        /// With the host bits cleared.
        network: IpNet,
    },
    /// Too few addresses for pods.
    #[error("pod-cidr {cidr} is too small: it must be /{longest} or larger")]
    TooSmall {
        /// The range.
        cidr: IpNet,
        /// Longest prefix of the family that is accepted.
        longest: u8,
    },
    /// No pod may have such addresses.
    #[error("pod-cidr {cidr} overlaps {reserved} ({what}): choose a private range")]
    Reserved {
        /// The range.
        cidr: IpNet,
        /// What it overlaps.
        reserved: IpNet,
        /// What that is for.
        what: &'static str,
    },
    /// Two ranges share addresses.
    #[error("pod-cidr {first} and {second} overlap: remove one or make them disjoint")]
    Overlap {
        /// The one given first.
        first: IpNet,
        /// The other.
        second: IpNet,
    },
}

/// The longest prefixes that leave an address for a pod: network, first host and, with IPv4, broadcast are taken.
const LONGEST_V4: u8 = 30;
const LONGEST_V6: u8 = 126;

const RESERVED: [(&str, &str); 9] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/3", "multicast and reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

/// Ranges for pools of this node: disjoint, and each with room for a pod.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<IpNet>, CidrError> {
    let mut cidrs: Vec<IpNet> = Vec::with_capacity(texts.len());
    for text in texts {
        let cidr = parse_one(text.trim())?;
        if let Some(first) = cidrs.iter().find(|other| overlap(other, &cidr)) {
            return Err(CidrError::Overlap { first: *first, second: cidr });
        }
        cidrs.push(cidr);
    }
    if cidrs.is_empty() { Err(CidrError::Missing) } else { Ok(cidrs) }
}

fn parse_one(text: &str) -> Result<IpNet, CidrError> {
    let cidr = parse_network(text)?;
    let longest = match cidr.addr() {
        IpAddr::V4(_) => LONGEST_V4,
        IpAddr::V6(_) => LONGEST_V6,
    };
    if cidr.prefix_len() > longest { Err(CidrError::TooSmall { cidr, longest }) } else { Ok(cidr) }
}

/// A range that pods may have, of whatever size.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, CidrError> {
    let given: IpNet = text.parse().map_err(|_| CidrError::Malformed { text: text.to_owned() })?;
    let cidr = given.trunc();
    if given != cidr {
        return Err(CidrError::HostBits { given, network: cidr });
    }
    for (reserved, what) in RESERVED {
        if let Some(reserved) = reserved.parse().ok().filter(|reserved| overlap(reserved, &cidr)) {
            return Err(CidrError::Reserved { cidr, reserved, what });
        }
    }
    Ok(cidr)
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(texts: &[&str]) -> String {
        parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap_err().to_string()
    }

    #[test]
    fn both_families_side_by_side() {
        let texts = ["10.244.0.0/30", "fd00::/126", "10.244.1.0/24"].map(str::to_owned);
        assert_eq!(parse(&texts).unwrap().len(), 3);
    }

    #[test]
    fn wrong_ranges_are_named() {
        for (texts, parts) in [
            (vec![], ["missing", "--pod-cidr"]),
            (vec!["10.0.0.0"], ["10.0.0.0", "/24"]),
            (vec!["10.0.0.9/24"], ["10.0.0.9/24", "10.0.0.0/24"]),
            (vec!["10.0.0.0/31"], ["10.0.0.0/31", "/30"]),
            (vec!["10.0.0.1/32"], ["10.0.0.1/32", "too small"]),
            (vec!["fd00::/127"], ["fd00::/127", "/126"]),
            (vec!["fd00::1/128"], ["fd00::1/128", "too small"]),
            (vec!["0.0.0.0/0"], ["0.0.0.0/0", "overlaps"]),
            (vec!["169.254.1.0/24"], ["169.254.0.0/16", "link-local"]),
            (vec!["::ffff:10.0.0.0/120"], ["mapped", "private"]),
            (vec!["10.0.0.0/8", "fd00::/64", "10.9.0.0/16"], ["10.0.0.0/8", "10.9.0.0/16"]),
            (vec!["10.0.0.0/24", "10.0.0.0/24"], ["10.0.0.0/24", "overlap"]),
        ] {
            let error = error(&texts);
            assert!(parts.iter().all(|part| error.contains(part)), "{texts:?}: {error}");
        }
    }

    #[test]
    fn reserved_ranges_parse() {
        for (text, _) in RESERVED {
            let net: IpNet = text.parse().unwrap();
            assert_eq!(net, net.trunc(), "{text}");
        }
    }
}
