//! Flows: what state they are in, when they are over, and taking away those that are.
//!
//! The programs write `flows` and `nat` and never remove anything. A sweep reads both tables once, in batches, joins
//! them in memory, and removes what is over. It looks a flow up again right before it removes it, so that a flow which
//! has just been used stays.

mod collector;
mod list;
mod parking;
mod report;
mod state;
mod sweep;
mod tables;
mod timeouts;

pub(crate) use collector::{Collector, tick_now};
pub(crate) use list::{Filter, exhausted, flows, mappings};
pub(crate) use parking::Parking;
pub(crate) use report::Report;
pub(crate) use state::{State, protocol};
pub use timeouts::Timeouts;
