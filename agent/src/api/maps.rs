//! `GET /v1/maps`: the datapath's maps and what they hold.

use weft_cni::api::{ApiError, MapInfo};

use crate::kernel::Kernel;

use super::App;
use super::error::not_found;

pub(super) fn list<K: Kernel>(app: &App<K>) -> Result<Vec<MapInfo>, ApiError> {
    Ok(app.endpoints.kernel().maps()?)
}

/// `GET /v1/maps/{name}`.
pub(super) fn dump<K: Kernel>(app: &App<K>, name: &str) -> Result<Vec<serde_json::Value>, ApiError> {
    let entries = app.endpoints.kernel().dump(name)?;
    entries.ok_or_else(|| not_found(format!("no map {name:?}: `weft map list` names them")))
}
