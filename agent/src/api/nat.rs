//! `GET /v1/nat`: translations, and how much room is left for more.

use weft_abi::map;
use weft_cni::api::{ApiError, TableUse, Translations};

use crate::kernel::Kernel;

use super::App;
use super::flows::LIMIT;
use super::query::Query;

/// How many translations are asked for.
pub(super) fn limit(query: Option<&str>) -> Result<usize, ApiError> {
    let query = Query::parse(query, &["limit"])?;
    Ok(query.parsed("limit", "a number of translations")?.unwrap_or(LIMIT))
}

pub(super) async fn list<K: Kernel>(app: &App<K>, limit: usize) -> Result<Translations, ApiError> {
    let kernel = app.endpoints.kernel();
    let mappings = kernel.mappings(limit).await?;
    Ok(Translations { mappings, tables: tables(kernel)?, exhausted: kernel.exhausted()? })
}

/// The tables that may run full.
pub(super) fn tables<K: Kernel>(kernel: &K) -> Result<Vec<TableUse>, ApiError> {
    let maps = kernel.maps()?.into_iter().filter(|map| [map::FLOWS, map::NAT].contains(&map.name.as_str()));
    Ok(maps.map(|map| TableUse { name: map.name, entries: map.entries.unwrap_or(0), room: map.max_entries }).collect())
}
