//! Addresses that the node's stack translates: those of services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Services {
    /// There are none to know of: the agent runs without Kubernetes.
    #[default]
    None,
    /// Not heard yet: whatever is no peer's may be a service's.
    Unknown,
    /// Every address of every service.
    Known(Arc<BTreeSet<IpAddr>>),
}
