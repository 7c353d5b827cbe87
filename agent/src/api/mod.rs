//! The agent's socket: HTTP/1.1 and JSON, as `weft_cni::api` describes it.

mod attachments;
mod body;
mod drops;
mod endpoints;
mod error;
mod flows;
mod gc;
mod health;
mod maps;
mod nat;
mod peers;
mod ports;
mod query;
mod route;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod trace;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::endpoint::Endpoints;
use crate::flow;
use crate::install;
use crate::monitor::{DropLog, RequestStats, Tracer};
use crate::peer::View;

pub(crate) use server::{serve_health, serve_socket};

/// What the requests work on.
#[derive(Debug)]
pub(crate) struct App<K> {
    pub(crate) endpoints: Rc<Endpoints<K>>,
    pub(crate) drops: Rc<DropLog>,
    /// What was put onto the node for its container runtime.
    pub(crate) install: Rc<install::View>,
    pub(crate) network: Rc<View>,
    /// The place in a cluster; none of a standalone agent.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) tracer: Tracer,
    pub(crate) flows: Arc<flow::Report>,
    pub(crate) requests: RequestStats,
    /// Name of the node.
    pub(crate) node_name: String,
    /// Kernel release.
    pub(crate) kernel_release: String,
    pub(crate) started: Instant,
}
