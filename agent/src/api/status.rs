//! `GET /v1/status`: whether ADD is served, and if not, why.

use weft_cni::api::Status;

use crate::kernel::Kernel;

use super::{App, nat};

pub(super) fn status<K: Kernel>(app: &App<K>) -> Status {
    let endpoints = &app.endpoints;
    let exhausted = endpoints.exhausted();
    let mut problems: Vec<String> = exhausted.iter().map(ToString::to_string).collect();
    let ready = problems.is_empty();
    problems.extend(endpoints.troubles());
    problems.extend(endpoints.kernel().warnings());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: app.node_name.clone(),
        ready,
        problems,
        attach: endpoints.kernel().attach_name().to_owned(),
        kernel: app.kernel_release.clone(),
        abi: weft_abi::VERSION,
        endpoints: endpoints.count(),
        pools: endpoints.pools(),
        tables: nat::tables(endpoints.kernel()).unwrap_or_default(),
        uptime_ms: u64::try_from(app.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
