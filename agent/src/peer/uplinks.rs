//! Uplinks as the datapath and the log have them.

use std::net::IpAddr;

use crate::datapath::UplinkDevice;
use crate::node::Uplink;

/// An uplink as the programs have it.
pub(super) fn device(uplink: &Uplink) -> UplinkDevice {
    UplinkDevice { name: uplink.name.clone(), index: uplink.index, v4: uplink.v4, v6: uplink.v6 }
}

/// Uplinks as people read them.
pub(super) fn show(uplinks: &[Uplink]) -> String {
    let one = |uplink: &Uplink| {
        let addresses = uplink.v4.map(IpAddr::V4).into_iter().chain(uplink.v6.map(IpAddr::V6));
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        format!("{} ({})", uplink.name, addresses.join(" "))
    };
    if uplinks.is_empty() { "none".to_owned() } else { uplinks.iter().map(one).collect::<Vec<_>>().join(", ") }
}
