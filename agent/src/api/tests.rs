//! The socket's requests, on a kernel that is none.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::endpoint::fake::Fake;
use crate::endpoint::{Endpoints, Identity};
use crate::ipam::Pools;
use crate::monitor::{RequestStats, Tracer, render};
use crate::run_dir::RunDir;

use super::App;
use super::health::respond;
use super::server::{answer, serve_socket};

struct Fixture {
    dir: tempfile::TempDir,
    app: Rc<App<Fake>>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path().to_owned());
        run_dir.create().unwrap();
        let pools = Pools::new(&["10.0.0.0/29".parse().unwrap()]);
        let identity = Identity { link_group: Fake::GROUP, boot: "this".into(), mtu: Some(1400) };
        let app = App {
            endpoints: Rc::new(Endpoints::new(Fake::default(), &run_dir, pools, identity)),
            drops: Rc::default(),
            install: Rc::default(),
            network: Rc::default(),
            cluster: None,
            tracer: Tracer::default(),
            flows: Arc::default(),
            requests: RequestStats::default(),
            node_name: "n1".into(),
            kernel_release: "6.18".into(),
            started: Instant::now(),
        };
        Self { dir, app: Rc::new(app) }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let request =
            Request::builder().method(method).uri(path).body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = answer(Rc::clone(&self.app), request).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn lease(container: &str) -> String {
    json!({
        "key": {"containerId": container, "ifname": "eth0"},
        "network": "weft",
        "netns": "/run/netns/x",
        "origin": "created",
        "ipam": {"type": "built-in"},
    })
    .to_string()
}

fn spec(host_ifname: &str) -> Value {
    json!({
        "hostIfname": host_ifname, "hostIfindex": 5, "hostMac": "02:00:00:00:00:01", "podMac": "02:00:00:00:00:02",
        "addresses": ["10.0.0.2"], "mtu": 1400,
    })
}

#[test]
fn an_attachment_goes_through_the_socket() {
    let fixture = Fixture::new();
    run(async {
        let (status, granted) = fixture.ask("POST", "/v1/attachments", &lease("a")).await;
        assert_eq!((status, &granted["addresses"]), (StatusCode::CREATED, &json!(["10.0.0.2"])));
        assert_eq!(granted["mtu"], 1400);
        let name = granted["hostIfname"].as_str().unwrap();
        fixture.app.endpoints.kernel().add_link(name, 5);
        let (status, info) = fixture.ask("PUT", "/v1/attachments/a/eth%30", &spec(name).to_string()).await;
        assert_eq!((status, &info["stage"]), (StatusCode::OK, &json!("ready")));
        let checked = fixture.ask("POST", "/v1/attachments/a/eth0/check", r#"{"addresses":["10.0.0.2"]}"#).await;
        assert_eq!(checked, (StatusCode::NO_CONTENT, Value::Null));
        assert_eq!(fixture.ask("GET", "/v1/attachments/a/eth0", "").await.1["id"], info["id"]);
        assert_eq!(fixture.ask("GET", "/v1/endpoints", "").await.1.as_array().unwrap().len(), 1);
        assert_eq!(fixture.ask("GET", "/v1/maps", "").await.1[0]["entries"], 1);
        let gone = (StatusCode::NO_CONTENT, Value::Null);
        assert_eq!(fixture.ask("DELETE", "/v1/attachments/a/eth0", "").await, gone);
        assert_eq!(fixture.ask("DELETE", "/v1/attachments/a/eth0", "").await, gone);
        let (_, reply) = fixture.ask("POST", "/v1/gc", r#"{"network":"weft","valid":[]}"#).await;
        assert_eq!(reply, json!({"removed": [], "errors": []}));
    });
}

#[test]
fn ports_and_limits_go_through_the_socket() {
    let fixture = Fixture::new();
    run(async {
        let kernel = fixture.app.endpoints.kernel();
        let join = async |container: &str, address: &str| {
            let (_, granted) = fixture.ask("POST", "/v1/attachments", &lease(container)).await;
            let name = granted["hostIfname"].as_str().unwrap();
            kernel.add_link(name, 5);
            let mut spec = spec(name);
            spec["addresses"] = json!([address]);
            spec["ports"] = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
            fixture.ask("PUT", &format!("/v1/attachments/{container}/eth0"), &spec.to_string()).await
        };
        assert_eq!(join("a", "10.0.0.2").await.0, StatusCode::OK);
        let (status, error) = join("b", "10.0.0.3").await;
        assert_eq!((status, &error["kind"]), (StatusCode::CONFLICT, &json!("port-taken")));
        let (_, ports) = fixture.ask("GET", "/v1/ports", "").await;
        assert_eq!((ports.as_array().unwrap().len(), &ports[0]["hostPort"]), (1, &json!(8080)));
        assert_eq!((&ports[0]["key"]["containerId"], &ports[0]["addresses"]), (&json!("a"), &json!(["10.0.0.2"])));

        let path = "/v1/attachments/a/eth0/bandwidth";
        let (status, info) = fixture.ask("PUT", path, r#"{"egress":{"rate":8000}}"#).await;
        assert_eq!((status, &info["endpoint"]["bandwidth"]), (StatusCode::OK, &json!({"egress": {"rate": 8000}})));
        assert_eq!(info["limits"]["egress"]["sentPackets"], 3);
        let (status, error) = fixture.ask("PUT", path, r#"{"egress":{"rate":8}}"#).await;
        assert_eq!((status, &error["kind"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
        assert_eq!(fixture.ask("GET", "/v1/endpoints", "").await.1[0]["limits"]["egress"]["sentPackets"], 3);
    });
}

#[test]
fn failures_have_a_kind_and_a_line() {
    let fixture = Fixture::new();
    run(async {
        fixture.ask("POST", "/v1/attachments", &lease("a")).await;
        for (method, path, body, status, kind) in [
            ("POST", "/v1/attachments", lease("a"), 409, "exists"),
            ("POST", "/v1/attachments", "{".to_owned(), 400, "invalid"),
            ("POST", "/v1/attachments", lease("a b"), 400, "invalid"),
            ("POST", "/v1/attachments", " ".repeat(2 << 20), 400, "invalid"),
            ("GET", "/v1/attachments/b/eth0", String::new(), 404, "not-found"),
            ("POST", "/v1/attachments/a/eth0/check", r#"{"addresses":[]}"#.to_owned(), 409, "mismatch"),
            ("GET", "/v1/maps/nope", String::new(), 404, "not-found"),
            ("GET", "/", String::new(), 404, "not-found"),
        ] {
            let (got, error) = fixture.ask(method, path, &body).await;
            assert_eq!((got.as_u16(), &error["kind"]), (status, &json!(kind)), "{method} {path}: {error}");
            assert_eq!(error["message"].as_str().unwrap().lines().count(), 1);
        }
    });
}

#[test]
fn an_exhausted_pool_is_told_everywhere() {
    let fixture = Fixture::new();
    run(async {
        assert_eq!(fixture.ask("GET", "/v1/status", "").await.1["ready"], true);
        assert_eq!(respond(&fixture.app, &hyper::Method::GET, "/readyz").status(), StatusCode::OK);
        for number in 0..5 {
            fixture.ask("POST", "/v1/attachments", &lease(&format!("c{number}"))).await;
        }
        let (status, error) = fixture.ask("POST", "/v1/attachments", &lease("late")).await;
        assert_eq!((status.as_u16(), &error["kind"]), (503, &json!("pool-exhausted")));
        assert!(error["message"].as_str().unwrap().contains("10.0.0.0/29"));
        let (_, status) = fixture.ask("GET", "/v1/status", "").await;
        assert_eq!(status["ready"], false);
        assert!(status["problems"][0].as_str().unwrap().contains("10.0.0.0/29"));
        let readyz = respond(&fixture.app, &hyper::Method::GET, "/readyz");
        assert_eq!(readyz.status(), StatusCode::SERVICE_UNAVAILABLE);
        let page = render(&fixture.app);
        for line in [
            "weft_endpoints 5\n",
            "weft_pool_addresses{cidr=\"10.0.0.0/29\",state=\"free\"} 0\n",
            "weft_verdicts_packets_total{reason=\"source-mac\",direction=\"egress\"} 2\n",
            "weft_map_max_entries{map=\"pods\"} 8192\n",
            "weft_flows{state=\"established\"} 0\n",
            "weft_flows_removed_total{reason=\"expired\"} 0\n",
            "weft_flow_sweeps_total 0\n",
            "weft_requests_total{verb=\"lease\",status=\"201\"} 5\n",
            "weft_request_duration_seconds_count{verb=\"lease\"} 6\n",
            "weft_request_duration_seconds_bucket{verb=\"lease\",le=\"+Inf\"} 6\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    });
}

#[test]
fn pods_with_a_larger_mtu_than_new_ones_get_are_named() {
    let fixture = Fixture::new();
    run(async {
        let problems = async || fixture.ask("GET", "/v1/status", "").await.1["problems"].to_string();
        for (at, container) in ["small", "large"].into_iter().enumerate() {
            let (_, granted) = fixture.ask("POST", "/v1/attachments", &lease(container)).await;
            let name = granted["hostIfname"].as_str().unwrap();
            fixture.app.endpoints.kernel().add_link(name, 5);
            assert_eq!(problems().await, "[]");
            let mut spec = spec(name);
            spec["addresses"] = granted["addresses"].clone();
            spec["mtu"] = json!(1400 + at);
            let path = format!("/v1/attachments/{container}/eth0");
            assert_eq!(fixture.ask("PUT", &path, &spec.to_string()).await.0, StatusCode::OK);
        }
        let problems = problems().await;
        assert!(problems.contains("large/eth0") && !problems.contains("small/eth0"), "{problems}");
        let (status, peers) = fixture.ask("GET", "/v1/peers", "").await;
        assert_eq!((status, peers), (StatusCode::OK, json!([])));
        assert_eq!(fixture.ask("GET", "/v1/status", "").await.1["network"]["podMtu"], 1400);
    });
}

#[test]
fn work_goes_on_when_the_client_hangs_up() {
    let fixture = Fixture::new();
    run(async {
        let (_, granted) = fixture.ask("POST", "/v1/attachments", &lease("a")).await;
        let name = granted["hostIfname"].as_str().unwrap();
        fixture.app.endpoints.kernel().add_link(name, 5);
        let spec = spec(name).to_string();
        tokio::select! {
            biased;
            _ = fixture.ask("PUT", "/v1/attachments/a/eth0", &spec) => unreachable!("the kernel takes its time"),
            () = tokio::task::yield_now() => {}
        }
        while fixture.app.endpoints.kernel().attached.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_client_that_stalls_or_hangs_up_hurts_nobody() {
    let fixture = Fixture::new();
    run(async {
        let path = fixture.dir.path().join("test.sock");
        let (stop, stopping) = watch::channel(false);
        spawn_local(serve_socket(Rc::clone(&fixture.app), UnixListener::bind(&path).unwrap(), stopping));
        let mut stalled = UnixStream::connect(&path).await.unwrap();
        stalled.write_all(b"GET /v1/status HT").await.unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        let mut follower = UnixStream::connect(&path).await.unwrap();
        follower.write_all(b"GET /v1/drops?follow=true HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /v1/status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("\"endpoints\":0"), "{reply}");

        let mut head = [0; 15];
        follower.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        stop.send_replace(true);
        fixture.app.drops.close();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), follower.read_to_end(&mut rest)).await;
        ended.unwrap().unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"));
    });
}

#[test]
fn flows_are_asked_for_by_pod() {
    let fixture = Fixture::new();
    run(async {
        let (_, granted) = fixture.ask("POST", "/v1/attachments", &lease("a")).await;
        let name = granted["hostIfname"].as_str().unwrap();
        fixture.app.endpoints.kernel().add_link(name, 5);
        let (_, info) = fixture.ask("PUT", "/v1/attachments/a/eth0", &spec(name).to_string()).await;
        let query = format!("/v1/flows?pod={}&pod=fd00::7&state=opening&limit=3", info["id"]);
        let (status, flows) = fixture.ask("GET", &query, "").await;
        assert_eq!((status, &flows["total"]), (StatusCode::OK, &json!(0)));
        let asked = fixture.app.endpoints.kernel().asked.borrow().clone().unwrap();
        let pods: Vec<std::net::IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::7".parse().unwrap()];
        assert_eq!((asked.pods, asked.limit), (pods, 3));
        let (status, error) = fixture.ask("GET", "/v1/flows?pod=99", "").await;
        assert_eq!((status, &error["kind"]), (StatusCode::NOT_FOUND, &json!("not-found")));
        let (status, nat) = fixture.ask("GET", "/v1/nat", "").await;
        assert_eq!((status, &nat["mappings"], &nat["exhausted"]), (StatusCode::OK, &json!([]), &json!([])));
    });
}

#[test]
fn a_trace_ends_with_its_client() {
    let fixture = Fixture::new();
    run(async {
        let kernel = fixture.app.endpoints.kernel();
        let request = || {
            let request = Request::builder().uri("/v1/trace?address=10.0.0.2&protocol=udp");
            request.body(Full::new(Bytes::new())).unwrap()
        };
        let stream = answer(Rc::clone(&fixture.app), request()).await;
        assert_eq!(stream.status(), StatusCode::OK);
        assert_eq!(kernel.filter.get().map(|filter| (filter.enabled, filter.protocol)), Some((1, 17)));
        let (status, error) = fixture.ask("GET", "/v1/trace", "").await;
        assert_eq!((status, &error["kind"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("busy")));
        assert!(kernel.filter.get().is_some());
        drop(stream);
        while kernel.filter.get().is_some() {
            tokio::task::yield_now().await;
        }
        let stream = answer(Rc::clone(&fixture.app), request()).await;
        assert_eq!(stream.status(), StatusCode::OK);
        fixture.app.tracer.close();
        assert!(stream.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}
