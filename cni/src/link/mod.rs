//! The pod's interface.

mod addresses;
pub(crate) mod inspect;
mod name;
mod neighbours;
pub(crate) mod netlink;
pub(crate) mod netns;
pub(crate) mod pod;
mod routes;
mod sysctls;
pub(crate) mod veth;

pub use name::{host_ifname, host_mac, link_group, pod_mac};
pub use routes::{GATEWAY_V4, GATEWAY_V6, gateway};
