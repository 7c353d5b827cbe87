//! Endpoints: what they are, where they are recorded, and how kernel and record are brought together.

mod model;

pub use model::{Endpoint, Record};
