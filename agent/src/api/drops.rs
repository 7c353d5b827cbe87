//! `GET /v1/drops`: how many packets were dropped and why, and the newest of them.

use weft_cni::api::{ApiError, Drops};

use crate::kernel::Kernel;

use super::App;

pub(super) fn list<K: Kernel>(app: &App<K>) -> Result<Drops, ApiError> {
    Ok(Drops { counters: app.endpoints.kernel().verdicts()?, recent: app.drops.recent() })
}
