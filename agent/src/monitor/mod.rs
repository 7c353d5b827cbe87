//! What the agent tells of itself and of the datapath: drops, traced packets, counters, request times.

mod drops;
mod exposition;
mod line;
mod metrics;
mod requests;
mod trace;
mod watch;

pub(crate) use drops::DropLog;
pub(crate) use metrics::render;
pub(crate) use requests::RequestStats;
pub(crate) use trace::Tracer;
pub(crate) use watch::watch;
