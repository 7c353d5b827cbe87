//! Answers that are none: a `Status` object with a code and a reason.

use http::StatusCode;
use serde_json::{Value, json};

use super::object::Key;

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    reason: &'static str,
    message: String,
    /// Seconds after which it may be asked again.
    pub(super) retry: Option<u64>,
    next: Option<String>,
}

impl Refusal {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry: None, next: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(what: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{what} is forbidden: no role allows it"))
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{} not found", what.into()))
    }

    pub(super) fn no_object(key: &Key) -> Self {
        Self::not_found(format!("{} {:?}", key.kind.plural, key.name))
    }

    pub(super) fn exists(key: &Key) -> Self {
        let message = format!("{} {:?} already exists", key.kind.plural, key.name);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
    }

    pub(super) fn conflict(key: &Key, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {:?}: {why}", key.kind.plural, key.name);
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(super) fn method(method: &http::Method) -> Self {
        let message = format!("the server does not allow {method} here");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn media(kind: &str) -> Self {
        let message = format!("the body of the request was in an unknown format {kind:?}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(super) fn gone(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// A page of a list that is no longer there, and where to go on if it may be another one.
    pub(super) fn page_gone(next: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result.";
        Self { next: Some(next), ..Self::new(StatusCode::GONE, "Expired", message) }
    }

    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        Self { retry: Some(1), ..Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message) }
    }

    pub(super) fn busy(seconds: u64) -> Self {
        let message = "Too many requests, please try again later.";
        Self { retry: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message) }
    }

    pub(super) fn broken() -> Self {
        let message = "Internal error occurred: etcdserver: leader changed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// The `Status` object.
    pub(super) fn json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if let Some(seconds) = self.retry {
            status["details"] = json!({ "retryAfterSeconds": seconds });
        }
        if let Some(next) = &self.next {
            status["metadata"] = json!({ "continue": next });
        }
        status
    }
}
