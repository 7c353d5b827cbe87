//! Flows: what state they are in, and when they are over.

mod timeouts;

pub use timeouts::Timeouts;
