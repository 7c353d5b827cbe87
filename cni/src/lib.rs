//! The parts of weft's CNI plugin: the specification in types, the pod's interface, the way to the agent.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test stops at the first surprise"))]

pub mod api;
pub mod client;
pub mod command;
mod ipam;
pub mod link;
pub mod mac;
pub mod path;
pub mod spec;
pub mod spool;
