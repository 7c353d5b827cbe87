//! From method and path to what is asked for.

use hyper::Method;
use weft_abi::TraceFilter;
use weft_cni::api::{ApiError, AttachmentKey};
use weft_cni::path::decode;

use super::error::{invalid, not_found};
use super::{flows, nat, trace};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Lease,
    HandOver(AttachmentKey),
    Get(AttachmentKey),
    Check(AttachmentKey),
    Remove(AttachmentKey),
    SetBandwidth(AttachmentKey),
    CollectGarbage,
    Status,
    Endpoints,
    Ports,
    Peers,
    Maps,
    Dump(String),
    Drops { follow: bool },
    Flows(flows::Wanted),
    Nat { limit: usize },
    Trace(TraceFilter),
}

impl Route {
    pub(super) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let segments: Vec<&str> = path.strip_prefix("/v1/").map(|rest| rest.split('/').collect()).unwrap_or_default();
        let route = match (method.as_str(), segments.as_slice()) {
            ("POST", ["attachments"]) => Self::Lease,
            ("PUT", ["attachments", container, ifname]) => Self::HandOver(key(container, ifname)?),
            ("GET", ["attachments", container, ifname]) => Self::Get(key(container, ifname)?),
            ("DELETE", ["attachments", container, ifname]) => Self::Remove(key(container, ifname)?),
            ("POST", ["attachments", container, ifname, "check"]) => Self::Check(key(container, ifname)?),
            ("PUT", ["attachments", container, ifname, "bandwidth"]) => Self::SetBandwidth(key(container, ifname)?),
            ("POST", ["gc"]) => Self::CollectGarbage,
            ("GET", ["status"]) => Self::Status,
            ("GET", ["endpoints"]) => Self::Endpoints,
            ("GET", ["ports"]) => Self::Ports,
            ("GET", ["peers"]) => Self::Peers,
            ("GET", ["maps"]) => Self::Maps,
            ("GET", ["maps", name]) => Self::Dump(text(name)?),
            ("GET", ["drops"]) => return drops(query),
            ("GET", ["flows"]) => return flows::Wanted::parse(query).map(Self::Flows),
            ("GET", ["nat"]) => return Ok(Self::Nat { limit: nat::limit(query)? }),
            ("GET", ["trace"]) => return trace::parse(query).map(Self::Trace),
            _ => return Err(not_found(format!("no such request: {method} {path}: see weft's API"))),
        };
        match query {
            Some(query) => Err(invalid(format!("{method} {path} takes no parameters: drop {query:?}"))),
            None => Ok(route),
        }
    }

    /// The word for it in metrics.
    pub(super) const fn verb(&self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::HandOver(_) => "hand-over",
            Self::Get(_) => "get",
            Self::Check(_) => "check",
            Self::Remove(_) => "remove",
            Self::SetBandwidth(_) => "set-bandwidth",
            Self::CollectGarbage => "gc",
            Self::Status => "status",
            Self::Endpoints => "endpoints",
            Self::Ports => "ports",
            Self::Peers => "peers",
            Self::Maps | Self::Dump(_) => "maps",
            Self::Drops { .. } => "drops",
            Self::Flows(_) => "flows",
            Self::Nat { .. } => "nat",
            Self::Trace(_) => "trace",
        }
    }
}

fn drops(query: Option<&str>) -> Result<Route, ApiError> {
    match query {
        None | Some("follow=false") => Ok(Route::Drops { follow: false }),
        Some("follow=true") => Ok(Route::Drops { follow: true }),
        Some(query) => Err(invalid(format!("parameter {query:?} is unknown: GET /v1/drops takes follow=true"))),
    }
}

fn key(container: &str, ifname: &str) -> Result<AttachmentKey, ApiError> {
    Ok(AttachmentKey { container_id: text(container)?, ifname: text(ifname)? })
}

fn text(segment: &str) -> Result<String, ApiError> {
    decode(segment).ok_or_else(|| invalid(format!("path segment {segment:?} is not percent-encoded UTF-8")))
}

#[cfg(test)]
mod tests {
    use weft_cni::api::ErrorKind;

    use super::*;

    fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Route, ErrorKind> {
        Route::parse(&method.parse().unwrap(), path, query).map_err(|error| error.kind)
    }

    #[test]
    fn every_request_of_the_api_is_known() {
        let key = AttachmentKey { container_id: "c 1".into(), ifname: "a%b".into() };
        for (method, path, query, route) in [
            ("POST", "/v1/attachments", None, Route::Lease),
            ("PUT", "/v1/attachments/c%201/a%25b", None, Route::HandOver(key.clone())),
            ("GET", "/v1/attachments/c%201/a%25b", None, Route::Get(key.clone())),
            ("DELETE", "/v1/attachments/c%201/a%25b", None, Route::Remove(key.clone())),
            ("POST", "/v1/attachments/c%201/a%25b/check", None, Route::Check(key.clone())),
            ("PUT", "/v1/attachments/c%201/a%25b/bandwidth", None, Route::SetBandwidth(key)),
            ("POST", "/v1/gc", None, Route::CollectGarbage),
            ("GET", "/v1/status", None, Route::Status),
            ("GET", "/v1/endpoints", None, Route::Endpoints),
            ("GET", "/v1/ports", None, Route::Ports),
            ("GET", "/v1/peers", None, Route::Peers),
            ("GET", "/v1/maps", None, Route::Maps),
            ("GET", "/v1/maps/pods", None, Route::Dump("pods".into())),
            ("GET", "/v1/drops", None, Route::Drops { follow: false }),
            ("GET", "/v1/drops", Some("follow=true"), Route::Drops { follow: true }),
        ] {
            assert_eq!(parse(method, path, query), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn parameters_choose_flows_and_packets() {
        let flows = |query| parse("GET", "/v1/flows", Some(query));
        assert!(matches!(parse("GET", "/v1/flows", None), Ok(Route::Flows(_))));
        assert!(flows("pod=10.0.0.2&pod=fd00%3A%3A2&pod=7&state=half-closed&protocol=udp&min-age=5&limit=1").is_ok());
        for query in ["pod=web", "state=dead", "protocol=x", "max-age=1h", "colour=red", "limit=-1"] {
            assert_eq!(flows(query), Err(ErrorKind::Invalid), "{query}");
        }
        assert_eq!(parse("GET", "/v1/nat", Some("limit=5")), Ok(Route::Nat { limit: 5 }));
        let filter = TraceFilter {
            enabled: 1,
            addrs: [std::net::IpAddr::from([10, 0, 0, 2]).into(), weft_abi::Addr::default()],
            port: 53_u16.to_be(),
            protocol: 17,
            pad: 0,
        };
        let trace = |query| parse("GET", "/v1/trace", Some(query));
        assert_eq!(trace("address=10.0.0.2&port=53&protocol=udp"), Ok(Route::Trace(filter)));
        assert_eq!(trace("address=::1&address=::2&address=::3"), Err(ErrorKind::Invalid));
        assert_eq!(trace("port=65536"), Err(ErrorKind::Invalid));
    }

    #[test]
    fn all_else_is_refused() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/v2/status"),
            ("PATCH", "/v1/gc"),
            ("GET", "/v1/status/"),
            ("PUT", "/v1/attachments/a"),
        ] {
            assert_eq!(parse(method, path, None), Err(ErrorKind::NotFound), "{method} {path}");
        }
        assert_eq!(parse("GET", "/v1/maps/%zz", None), Err(ErrorKind::Invalid));
        assert_eq!(parse("GET", "/v1/drops", Some("tail=1")), Err(ErrorKind::Invalid));
        assert_eq!(parse("GET", "/v1/status", Some("x=1")), Err(ErrorKind::Invalid));
    }
}
