//! The CNI specification in types: what a runtime says and what it wants to hear.

pub(crate) mod address;
pub(crate) mod args;
pub(crate) mod bandwidth;
pub(crate) mod conf;
pub(crate) mod document;
pub(crate) mod env;
pub mod error;
pub(crate) mod port_mapping;
pub(crate) mod prev_result;
pub(crate) mod range;
pub(crate) mod result;
pub(crate) mod runtime_config;
pub mod version;
