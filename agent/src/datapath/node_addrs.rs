//! `node_addrs`: by which addresses others may ask for a port of the node.

use std::net::IpAddr;

use weft_abi::{Addr, NODE_ADDRS_MAX, map};

use super::maps::{full_or, of};
use super::plain::Put;
use super::{Datapath, DatapathError};

impl Datapath {
    /// Makes these the node's addresses. Those of the loopback device's networks, and those that are valid on one link
    /// alone, are nobody's to ask for from outside, and are left out.
    ///
    /// # Errors
    /// The map is full, or cannot be read or written.
    pub fn set_node_addresses(&self, addresses: &[IpAddr]) -> Result<(), DatapathError> {
        let _alone = self.state();
        let table = &self.maps.node_addrs;
        let wanted: Vec<Addr> =
            addresses.iter().filter(|address| is_asked_for(address)).copied().map(Addr::from).collect();
        let there = self.node_addresses()?;
        // New ones first: an address that moves is there throughout.
        for addr in wanted.iter().filter(|addr| !there.contains(addr)) {
            table.put(addr, &0, Put::Any).map_err(full_or(map::NODE_ADDRS, NODE_ADDRS_MAX))?;
        }
        let stale: Vec<Addr> = there.into_iter().filter(|addr| !wanted.contains(addr)).collect();
        table.delete_all(&stale).map_err(of("delete", map::NODE_ADDRS))
    }

    /// The node's addresses, as the programs know them.
    pub(crate) fn node_addresses(&self) -> Result<Vec<Addr>, DatapathError> {
        let all = self.maps.node_addrs.all().map_err(of("iterate", map::NODE_ADDRS))?;
        Ok(all.into_iter().map(|(addr, _)| addr).collect())
    }
}

fn is_asked_for(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_addresses_are_nobodys_to_ask_for() {
        for (address, asked_for) in
            [("192.0.2.1", true), ("2001:db8::1", true), ("127.0.0.53", false), ("::1", false), ("fe80::1", false)]
        {
            assert_eq!(is_asked_for(&address.parse().unwrap()), asked_for, "{address}");
        }
    }
}
