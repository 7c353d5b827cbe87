//! `POST /v1/gc`: remove what the runtime does not know any more.

use weft_cni::api::{GcReply, GcRequest};

use crate::kernel::Kernel;

use super::App;

pub(super) async fn collect<K: Kernel>(app: &App<K>, request: &GcRequest) -> GcReply {
    app.endpoints.collect_garbage(request).await
}
