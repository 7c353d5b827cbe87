//! Whole calls as far as they go without privilege.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::client::fake_agent::{Agent, with_length};
use crate::ipam::fake_plugin::plugin;
use crate::spool::Spool;

/// A container whose namespace opens and is none: ADD gets as far as to enter it.
const VARIABLES: [(&str, &str); 3] = [("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/dev/null")];

fn call(command: &str, more: &[(&str, &str)], input: &[u8]) -> Outcome {
    let first = [("CNI_COMMAND", command)];
    let variable = |name| {
        let mut all = more.iter().chain(&first).chain(&VARIABLES);
        all.find(|(key, _)| *key == name).map(|(_, value)| value.into())
    };
    run(variable, input)
}

fn refused(outcome: &Outcome) -> ErrorReply {
    assert!(!outcome.success);
    serde_json::from_slice(&outcome.output).unwrap()
}

/// A configuration that is complete but for what `more` says.
fn conf(socket: &Path, more: &Value) -> Vec<u8> {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "weft-cni", "agentSocket": socket});
    for (key, value) in more.as_object().unwrap() {
        conf[key] = value.clone();
    }
    serde_json::to_vec(&conf).unwrap()
}

fn nowhere(more: &Value) -> Vec<u8> {
    conf(Path::new("/nonexistent/agent.sock"), more)
}

fn status(ready: bool, used: u64) -> String {
    json!({
        "version": "0.1.0", "node": "n", "ready": ready, "problems": if ready { vec![] } else { vec!["no address left"] },
        "attach": "tcx", "kernel": "6.18", "abi": 1, "endpoints": 0, "uptimeMs": 1,
        "pools": [{"cidr": "10.1.0.0/24", "capacity": 253, "used": used, "resting": 0}],
    })
    .to_string()
}

#[test]
fn version_is_echoed_whether_supported_or_not() {
    for version in ["0.2.0", "1.1.0", "7.0.0"] {
        let outcome = call("VERSION", &[], json!({"cniVersion": version}).to_string().as_bytes());
        assert!(outcome.success);
        let reply: Value = serde_json::from_slice(&outcome.output).unwrap();
        assert_eq!(reply["cniVersion"], version);
        assert_eq!(reply["supportedVersions"], json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
    }
}

#[test]
fn loopback_asks_no_agent() {
    for operation in ["DEL", "GC", "STATUS"] {
        let outcome = call(operation, &[], &nowhere(&json!({"type": "loopback"})));
        assert_eq!(outcome, Outcome { output: Vec::new(), success: true }, "{operation}");
    }
    let error = refused(&call("ADD", &[], &nowhere(&json!({"type": "loopback"}))));
    assert!(error.msg.contains("CNI_NETNS"), "{error:?}");
}

/// Operation, variables, input; code and part of the message.
type Mistake<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, u32, &'a str);

#[test]
fn every_mistake_has_its_code_and_its_name() {
    let port = json!({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 0, "protocol": "tcp"}]}});
    let old = |version: &str| nowhere(&json!({"cniVersion": version}));
    let prev = json!({"prevResult": {"interfaces": [{"name": "eth1", "sandbox": "/dev/null"}]}});
    let chained = json!({
        "prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/dev/null"}]}, "runtimeConfig": {"ips": ["10.1.2.3"]},
    });
    let rows: &[Mistake<'_>] = &[
        ("ADD", &[], b"".into(), 6, "empty"),
        ("VERSION", &[], b"".into(), 6, "empty"),
        ("ADD", &[], b"{\"name\":".into(), 6, "not JSON"),
        ("ADD", &[], b"{\"name\":\"\xff\"}".into(), 6, "not JSON"),
        ("ADD", &[], [b'['; 1000].into(), 6, "not JSON"),
        ("ADD", &[], vec![b' '; 5 << 20], 6, "4 MiB"),
        ("ADD", &[], b"[]".into(), 7, "object"),
        ("ADD", &[], nowhere(&json!({"cniVersion": 1})), 6, "cniVersion"),
        ("ADD", &[], old("2.0.0"), 1, "2.0.0"),
        ("DEL", &[], old("2.0.0"), 1, "2.0.0"),
        ("CHECK", &[], old("0.3.1"), 1, "0.4.0"),
        ("GC", &[], old("1.0.0"), 1, "1.1.0"),
        ("STATUS", &[], old("1.0.0"), 1, "1.1.0"),
        ("ADD", &[], nowhere(&json!({"name": ""})), 7, "name"),
        ("ADD", &[], nowhere(&json!({"mtu": 1})), 7, "mtu"),
        ("STATUS", &[], nowhere(&json!({"agentsocket": "/a"})), 7, "agentSocket"),
        ("ADD", &[], nowhere(&port), 7, "runtimeConfig.portMappings[0].containerPort: 0 is no port"),
        ("ADD", &[], nowhere(&prev), 7, "prevResult"),
        ("ADD", &[], nowhere(&chained), 2, "runtimeConfig.ips"),
        ("ADD", &[], nowhere(&json!({"ipam": {"type": "fake"}})), 4, "CNI_PATH"),
        ("ADD", &[("CNI_PATH", "/nonexistent")], nowhere(&json!({"ipam": {"type": "fake"}})), 7, "ipam.type"),
        ("CHECK", &[], nowhere(&json!({})), 7, "prevResult"),
        ("GC", &[], nowhere(&json!({})), 7, "cni.dev/valid-attachments"),
        ("GC", &[], nowhere(&json!({"cni.dev/valid-attachments": []})), 11, "not running"),
        ("STATUS", &[], nowhere(&json!({})), 50, "status"),
        ("UPDATE", &[], nowhere(&json!({})), 4, "CNI_COMMAND"),
        ("ADD", &[("CNI_CONTAINERID", "abc\n")], nowhere(&json!({})), 4, "CNI_CONTAINERID"),
        ("DEL", &[("CNI_CONTAINERID", "")], nowhere(&json!({})), 4, "CNI_CONTAINERID"),
        ("ADD", &[("CNI_IFNAME", "a/b")], nowhere(&json!({})), 4, "CNI_IFNAME"),
        ("ADD", &[("CNI_NETNS", "")], nowhere(&json!({})), 4, "CNI_NETNS"),
        ("ADD", &[("CNI_NETNS", "/nonexistent")], nowhere(&json!({})), 3, "CNI_NETNS"),
        ("ADD", &[("CNI_NETNS", "/proc/self/ns/net")], nowhere(&json!({})), 4, "CNI_NETNS"),
        ("ADD", &[("CNI_ARGS", "FOO=1")], nowhere(&json!({})), 4, "CNI_ARGS"),
    ];
    for (command, variables, input, code, part) in rows {
        let reply = refused(&call(command, variables, input));
        assert_eq!(reply.code, *code, "{command} {variables:?}: {reply:?}");
        assert!(reply.msg.contains(part) && !reply.msg.contains('\n'), "{command} {variables:?}: {reply:?}");
    }
}

#[test]
fn an_error_speaks_the_configurations_version() {
    let reply = refused(&call("ADD", &[("CNI_IFNAME", "")], &nowhere(&json!({"cniVersion": "0.4.0"}))));
    assert_eq!(reply.cni_version, "0.4.0");
    assert_eq!(refused(&call("ADD", &[], b"{")).cni_version, "1.1.0");
}

#[test]
fn status_is_silent_when_ready_and_tells_why_not() {
    let agent = Agent::saying(vec![vec![with_length("200 OK", &status(true, 1))]]);
    let outcome = call("STATUS", &[], &conf(&agent.socket(), &json!({})));
    assert_eq!(outcome, Outcome { output: Vec::new(), success: true });
    let agent = Agent::saying(vec![vec![with_length("200 OK", &status(false, 253))]]);
    let reply = refused(&call("STATUS", &[], &conf(&agent.socket(), &json!({}))));
    assert_eq!(reply.code, 50);
    assert!(reply.msg.contains("no address left"), "{reply:?}");
}

#[test]
fn with_delegated_ipam_the_delegates_status_counts() {
    let ipam = json!({"ipam": {"type": "fake"}});
    let with = |ready, used, script: &str| {
        let agent = Agent::saying(vec![vec![with_length("200 OK", &status(ready, used))]]);
        let dir = plugin(script);
        call("STATUS", &[("CNI_PATH", dir.path().to_str().unwrap())], &conf(&agent.socket(), &ipam))
    };
    assert!(with(false, 253, r#"[ "$CNI_COMMAND" = STATUS ]"#).success);
    assert_eq!(refused(&with(false, 1, "exit 0")).code, 50);
    assert_eq!(refused(&with(true, 1, r#"echo '{"code":51,"msg":"m"}'; exit 1"#)).code, 51);
}

#[test]
fn gc_names_network_and_survivors_and_goes_on_past_errors() {
    let more = json!({
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}], "ipam": {"type": "fake"},
    });
    let dir = plugin(r#"echo '{"code":103,"msg":"stuck"}'; exit 1"#);
    let path = [("CNI_PATH", dir.path().to_str().unwrap())];
    let agent = Agent::saying(vec![vec![with_length("200 OK", r#"{"removed":[],"errors":["b/eth0: busy"]}"#)]]);
    let reply = refused(&call("GC", &path, &conf(&agent.socket(), &more)));
    assert_eq!(reply.code, 100);
    assert!(reply.msg.contains("b/eth0: busy") && reply.details.contains("stuck"), "{reply:?}");
    let heard = agent.heard().remove(0);
    assert!(heard.starts_with("POST /v1/gc "), "{heard}");
    assert!(heard.ends_with(r#"{"network":"net","valid":[{"containerId":"a","ifname":"eth0"}]}"#), "{heard}");
    // Without the agent the delegate still has its turn.
    let reply = refused(&call("GC", &path, &nowhere(&more)));
    assert!(reply.code == 11 && reply.details.contains("stuck"), "{reply:?}");
}

#[test]
fn del_needs_nothing_but_the_key() {
    let agent = Agent::once("HTTP/1.1 204 No Content\r\n\r\n");
    let more = json!({"runtimeConfig": {"mac": 1}, "prevResult": [], "mtu": "x", "agentsocket": 1});
    let without = [("CNI_NETNS", ""), ("CNI_ARGS", "FOO=1"), ("CNI_IFNAME", "a%b")];
    let outcome = call("DEL", &without, &conf(&agent.socket(), &more));
    assert_eq!(outcome, Outcome { output: Vec::new(), success: true });
    assert!(agent.heard()[0].starts_with("DELETE /v1/attachments/c/a%25b "));
}

#[test]
fn del_waits_for_a_busy_agent() {
    let busy = with_length("503 Service Unavailable", r#"{"kind":"busy","message":"starting"}"#);
    let agent = Agent::saying(vec![vec![busy.clone()], vec![busy], vec![b"HTTP/1.1 204 No Content\r\n\r\n".into()]]);
    assert!(call("DEL", &[], &conf(&agent.socket(), &json!({}))).success);
    assert_eq!(agent.heard().len(), 3);
}

#[test]
fn del_without_the_agent_leaves_the_release_in_the_spool() {
    let dir = TempDir::new().unwrap();
    let conf = conf(&dir.path().join("agent.sock"), &json!({}));
    for _ in 0..2 {
        assert!(call("DEL", &[], &conf).success);
        let releases = Spool::new(dir.path()).list().unwrap();
        assert_eq!(releases.len(), 1);
        assert_eq!(releases[0].as_ref().unwrap().key.container_id, "c");
    }
    // Not even the run directory: nothing was ever leased.
    assert!(call("DEL", &[], &nowhere(&json!({}))).success);
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn an_agent_that_is_back_in_time_leaves_nothing_in_the_spool() {
    let agent = Agent::saying(vec![vec![Vec::new()], vec![b"HTTP/1.1 204 No Content\r\n\r\n".into()]]);
    let socket = agent.socket();
    let run_dir = socket.parent().unwrap();
    assert!(call("DEL", &[], &conf(&socket, &json!({}))).success);
    assert!(run_dir.join("spool").is_dir(), "the release was not recorded first");
    assert!(Spool::new(run_dir).list().unwrap().is_empty());
}

#[test]
fn del_that_cannot_be_recorded_is_no_success() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("spool"), "").unwrap();
    let reply = refused(&call("DEL", &[], &conf(&dir.path().join("agent.sock"), &json!({}))));
    assert_eq!(reply.code, 5);
}

#[test]
fn del_goes_on_to_the_delegate_and_reports_every_error() {
    let broken = with_length("500 Internal Server Error", r#"{"kind":"kernel","message":"no"}"#);
    let agent = Agent::saying(vec![vec![broken]]);
    let dir = plugin(r#"echo '{"code":42,"msg":"neither"}'; exit 1"#);
    let path = [("CNI_PATH", dir.path().to_str().unwrap())];
    let ipam = json!({"ipam": {"type": "fake"}});
    let reply = refused(&call("DEL", &path, &conf(&agent.socket(), &ipam)));
    assert_eq!((reply.code, reply.msg.as_str()), (100, "no"));
    assert!(reply.details.contains("neither"), "{reply:?}");
    let agent = Agent::once("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(refused(&call("DEL", &path, &conf(&agent.socket(), &ipam))).code, 42);
}

#[test]
fn refusals_of_the_agent_have_codes() {
    for (kind, code) in [
        ("invalid", 7),
        ("not-found", 3),
        ("exists", 102),
        ("address-unavailable", 103),
        ("pool-exhausted", 104),
        ("port-taken", 107),
        ("mismatch", 101),
        ("io", 5),
        ("kernel", 100),
    ] {
        let body = json!({"kind": kind, "message": "why"}).to_string();
        let agent = Agent::saying(vec![vec![with_length("500 Oops", &body)]]);
        let reply = refused(&call("DEL", &[], &conf(&agent.socket(), &json!({}))));
        assert_eq!((reply.code, reply.msg.as_str()), (code, "why"), "{kind}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_in_an_error_object_comes_out(
        command in "ADD|CHECK|GC|STATUS|VERSION|[A-Z]{0,6}",
        key in "name|mtu|ipam|prevResult|runtimeConfig|dns|args|cniVersion|[a-zA-Z]{0,9}",
        value in prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), ".{0,9}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..3).prop_map(Value::from), Just(json!({"a": {}}))],
        cut in 0_usize..200, noise: Vec<u8>,
    ) {
        let mut input = nowhere(&json!({key: value}));
        if cut < 100 {
            input.truncate(cut);
            input.extend(noise);
        }
        let outcome = call(&command, &[], &input);
        let reply: Value = serde_json::from_slice(&outcome.output).unwrap();
        prop_assert_eq!(reply.get("code").is_some(), !outcome.success);
        prop_assert!(reply["cniVersion"].is_string());
    }
}
