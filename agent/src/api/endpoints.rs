//! `GET /v1/endpoints`: every attachment, oldest first.

use weft_cni::api::EndpointInfo;

use crate::kernel::Kernel;

use super::App;

pub(super) fn list<K: Kernel>(app: &App<K>) -> Vec<EndpointInfo> {
    app.endpoints.list()
}
