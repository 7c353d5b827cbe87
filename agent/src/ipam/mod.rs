//! Pools and leases: which pod has which address. Pure; the records on disk are the truth that it is built from.

mod change;
mod pool;
mod pools;
mod range;

pub(crate) use pools::{IpamError, Pools, Request};
