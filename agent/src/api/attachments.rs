//! `/v1/attachments`: how an attachment comes, is looked at, and goes.

use weft_cni::api::{
    ApiError, AttachmentKey, Bandwidth, CheckRequest, EndpointInfo, EndpointSpec, ErrorKind, Lease, LeaseRequest,
};

use crate::kernel::Kernel;

use super::App;

/// `POST`: addresses and a name for the host interface.
pub(super) async fn lease<K: Kernel>(app: &App<K>, request: LeaseRequest) -> Result<Lease, ApiError> {
    app.endpoints.lease(request).await.map_err(|error| {
        let error = ApiError::from(error);
        let cluster = app.cluster.as_ref().filter(|_| error.kind == ErrorKind::Busy);
        // Who has no range yet knows why.
        let why = cluster.and_then(|cluster| cluster.waits_for(&app.endpoints));
        ApiError { message: why.unwrap_or(error.message), ..error }
    })
}

/// `PUT`: the interface exists, join it.
pub(super) async fn hand_over<K: Kernel>(
    app: &App<K>,
    key: &AttachmentKey,
    spec: EndpointSpec,
) -> Result<EndpointInfo, ApiError> {
    Ok(app.endpoints.hand_over(key, spec).await?)
}

/// `PUT .../bandwidth`: how fast it may be from now on.
pub(super) async fn set_bandwidth<K: Kernel>(
    app: &App<K>,
    key: &AttachmentKey,
    bandwidth: Bandwidth,
) -> Result<EndpointInfo, ApiError> {
    Ok(app.endpoints.set_bandwidth(key, bandwidth).await?)
}

/// `GET`: what is known of it.
pub(super) fn get<K: Kernel>(app: &App<K>, key: &AttachmentKey) -> Result<EndpointInfo, ApiError> {
    Ok(app.endpoints.get(key)?)
}

/// `POST .../check`: is it as it should be.
pub(super) async fn check<K: Kernel>(
    app: &App<K>,
    key: &AttachmentKey,
    request: &CheckRequest,
) -> Result<(), ApiError> {
    Ok(app.endpoints.check(key, request).await?)
}

/// `DELETE`: remove it, whatever there is of it.
pub(super) async fn remove<K: Kernel>(app: &App<K>, key: &AttachmentKey) -> Result<(), ApiError> {
    Ok(app.endpoints.remove(key).await?)
}
