//! What the agent tells of itself and of the datapath: drops, counters, request times.

mod drops;
mod exposition;
mod metrics;
mod requests;

pub(crate) use drops::{DropLog, watch};
pub(crate) use metrics::render;
pub(crate) use requests::RequestStats;
