//! The pod's interface.

mod name;

pub use name::{host_ifname, host_mac, link_group, pod_mac};
