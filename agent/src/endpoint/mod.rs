//! Endpoints: what they are, where they are recorded, and how kernel and record are brought together.

mod error;
#[cfg(test)]
pub(crate) mod fake;
mod lifecycle;
mod limits;
mod locks;
mod model;
mod ports;
mod ranges;
mod reconcile;
mod registry;
mod releases;
mod spec;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use error::EndpointError;
pub use model::{Endpoint, Record};
pub use reconcile::RestoreError;
pub(crate) use registry::{Endpoints, Identity};
pub use store::StoreError;
pub(crate) use store::{Store, boot_id};
