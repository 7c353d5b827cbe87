//! Health and metrics over TCP, for kubelet and Prometheus.

use hyper::{Method, Response, StatusCode, header};

use crate::kernel::Kernel;
use crate::monitor;

use super::App;
use super::body::ReplyBody;
use super::status::status;

/// `/healthz`, `/readyz` and `/metrics`.
pub(super) fn respond<K: Kernel>(app: &App<K>, method: &Method, path: &str) -> Response<ReplyBody> {
    match (method, path) {
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, "/readyz") => {
            let status = status(app);
            if status.ready {
                text(StatusCode::OK, "ready\n".to_owned())
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, status.problems.join("\n") + "\n")
            }
        }
        (&Method::GET, "/metrics") => {
            let mut page = text(StatusCode::OK, monitor::render(app));
            let format = header::HeaderValue::from_static("text/plain; version=0.0.4");
            page.headers_mut().insert(header::CONTENT_TYPE, format);
            page
        }
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(text.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
