//! `GET /v1/ports`: every port of the node that is a pod's.

use weft_cni::api::PortInfo;

use crate::kernel::Kernel;

use super::App;

pub(super) fn list<K: Kernel>(app: &App<K>) -> Vec<PortInfo> {
    app.endpoints.ports()
}
