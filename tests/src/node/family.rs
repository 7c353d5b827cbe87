//! Address families, and tests that run on every path.

use std::net::IpAddr;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Whether an address is of this family.
    pub fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// A test function for each way of attaching and each family: `fn(Attach, Family) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_every_path {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::node::{Attach, Family};

            #[test]
            fn tcx_ipv4() -> anyhow::Result<()> {
                super::$name(Attach::Tcx, Family::V4)
            }

            #[test]
            fn tcx_ipv6() -> anyhow::Result<()> {
                super::$name(Attach::Tcx, Family::V6)
            }

            #[test]
            fn clsact_ipv4() -> anyhow::Result<()> {
                super::$name(Attach::Clsact, Family::V4)
            }

            #[test]
            fn clsact_ipv6() -> anyhow::Result<()> {
                super::$name(Attach::Clsact, Family::V6)
            }
        }
    )+};
}

/// A test function for each way of attaching: `fn(Attach) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_both_attachments {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::node::Attach;

            #[test]
            fn tcx() -> anyhow::Result<()> {
                super::$name(Attach::Tcx)
            }

            #[test]
            fn clsact() -> anyhow::Result<()> {
                super::$name(Attach::Clsact)
            }
        }
    )+};
}
