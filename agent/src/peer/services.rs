//! Addresses that are nobody's: those of services, which only the node's stack knows how to translate.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is known of services' addresses, from whatever source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Services {
    /// There are none, and never will be.
    #[default]
    None,
    /// Nobody has said yet: until then whatever is no pod's may be a service's, unless the kernel still has a list.
    Unknown,
    /// These and no others.
    Known(Arc<BTreeSet<IpAddr>>),
}

impl Services {
    /// What pods' packets reach by way of the node's stack, where the kernel had that list before.
    pub(super) fn ranges(&self, before: &[IpNet]) -> Vec<IpNet> {
        match self {
            Self::None => Vec::new(),
            Self::Unknown if before.is_empty() => {
                vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
            }
            Self::Unknown => before.to_vec(),
            Self::Known(addresses) => addresses.iter().copied().map(IpNet::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_may_be_anything() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let older = nets(&["10.96.0.1/32"]);
        let known = ["fd00:96::1", "10.96.0.7"].map(|text| text.parse().unwrap());
        assert_eq!(Services::None.ranges(&older), []);
        assert_eq!(Services::Unknown.ranges(&[]), nets(&["0.0.0.0/0", "::/0"]));
        assert_eq!(Services::Unknown.ranges(&older), older);
        let known = Services::Known(Arc::new(known.into()));
        assert_eq!(known.ranges(&older), nets(&["10.96.0.7/32", "fd00:96::1/128"]));
    }
}
