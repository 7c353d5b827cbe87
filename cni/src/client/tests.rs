//! The client against an agent that says exactly what each test wants.

use std::os::unix::net::UnixListener;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_agent::{Agent, with_length};
use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn a_request_is_plain_http() {
    let agent = Agent::saying(vec![vec![with_length("201 Created", r#"{"a":1}"#)]]);
    let answer: Value = agent.client().post("/v1/attachments", &json!({"b": 2}), soon()).unwrap();
    assert_eq!(answer, json!({"a": 1}));
    assert_eq!(
        agent.heard(),
        [
            "POST /v1/attachments HTTP/1.1\r\nHost: weft\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"b\":2}"
        ]
    );
}

#[test]
fn requests_share_a_connection() {
    let agent = Agent::saying(vec![vec![with_length("200 OK", "1"), b"HTTP/1.1 204 No Content\r\n\r\n".into()]]);
    let mut client = agent.client();
    assert_eq!(client.get::<u8>("/a", soon()).unwrap(), 1);
    client.delete::<()>("/b", soon()).unwrap();
    assert_eq!(agent.heard().len(), 2);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let agent = Agent::saying(vec![vec![with_length("200 OK", "1")], vec![with_length("200 OK", "2")]]);
    let mut client = agent.client();
    assert_eq!(client.get::<u8>("/a", soon()).unwrap(), 1);
    assert_eq!(client.put::<u8>("/b", &0, soon()).unwrap(), 2);
    assert_eq!(agent.heard().len(), 2);
}

#[test]
fn every_framing_is_understood() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\"weft\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"we\r\n3;x=y\r\nft\"\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\"weft\"",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\"weft\"",
    ] {
        assert_eq!(Agent::once(answer).client().get::<String>("/", soon()).unwrap(), "weft", "{answer}");
    }
}

#[test]
fn refusals_keep_their_kind() {
    let body = r#"{"kind":"pool-exhausted","message":"10.1.0.0/24 has no address left"}"#;
    let agent = Agent::saying(vec![vec![with_length("503 Service Unavailable", body)]]);
    let error = agent.client().get::<()>("/", soon()).unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::PoolExhausted));
    assert_eq!(error.to_string(), "10.1.0.0/24 has no address left");
    assert!(!error.is_away());
}

#[test]
fn nobody_there_is_told_at_once() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("agent.sock");
    let error = Client::new(&socket).get::<()>("/", soon()).unwrap_err();
    assert!(matches!(error, ClientError::Away { .. }) && error.is_away(), "{error}");
    drop(UnixListener::bind(&socket).unwrap());
    let error = Client::new(&socket).get::<()>("/", soon()).unwrap_err();
    assert!(matches!(error, ClientError::Away { .. }), "{error}");
}

#[test]
fn an_answer_that_never_comes_ends_at_the_deadline() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    let error = Client::new(&socket).get::<()>("/", start + Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }) && error.is_away(), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_answer_that_stops_is_no_answer() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\"weft\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n\"weft\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n\"weft\"\r\n",
    ] {
        let error = Agent::once(answer).client().get::<String>("/", soon()).unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }) && error.is_away(), "{answer}: {error:?}");
    }
}

#[test]
fn an_answer_of_another_kind_is_said_so() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweft",
        "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nweft",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        &endless,
    ] {
        let error = Agent::once(answer).client().get::<String>("/", soon()).unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{answer:.60}: {error:?}");
    }
}

#[test]
fn lines_come_as_they_are_written() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\nbb\r\n4\r\n\nccc\r\n1\r\n\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\na\nbb\nccc\n",
    ] {
        let lines = Agent::once(answer).client().follow("/v1/drops?follow=true", Duration::from_secs(5)).unwrap();
        let lines: Vec<_> = lines.map(Result::unwrap).collect();
        assert_eq!(lines, ["a", "bb", "ccc"]);
    }
    let refused = Agent::saying(vec![vec![with_length("404 Not Found", r#"{"kind":"not-found","message":"no"}"#)]]);
    let error = refused.client().follow("/", Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_answer_is_a_surprise(head in "(HTTP/1.1 [0-9]{3} [a-z]{0,4}\r\n)?([A-Za-z-]{0,18}:? ?[a-z0-9]{0,9}\r\n){0,3}\r?\n?", body: Vec<u8>) {
        let agent = Agent::saying(vec![vec![[head.as_bytes(), &body].concat()]]);
        let _ = agent.client().get::<Value>("/", Instant::now() + Duration::from_millis(500));
    }

    #[test]
    fn chunks_of_any_size_make_the_same_body(text in "[a-z ]{0,200}", sizes in proptest::collection::vec(1_usize..40, 1..9)) {
        let json = serde_json::to_string(&text).unwrap();
        let (mut rest, mut answer) = (json.as_str(), String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            answer = format!("{answer}{:x}\r\n{chunk}\r\n", chunk.len());
            if chunk.is_empty() {
                break;
            }
            rest = after;
        }
        let agent = Agent::once(&answer);
        prop_assert_eq!(agent.client().get::<String>("/", soon()).unwrap(), text);
    }
}
