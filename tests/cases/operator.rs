//! What an operator sees and sets: `weft`, bpftool, configuration, health, metrics, the service manager.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_abi::{Direction, Reason};
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::packet::FrameSocket;
use weft_tests::packet::craft::{self, Link};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::traffic::{ping, stream};
use weft_tests::{drops, exec, kernel, need};

/// A command of `weft` that must succeed, its table.
fn table(node: &Node, args: &[&str]) -> Result<String> {
    let output = node.weft(args)?;
    ensure!(output.status.success(), "weft {}: {}", args.join(" "), output.complaint());
    Ok(output.text())
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn status_waits_for_the_agent_and_tells_what_is_wrong() -> Result<()> {
    let settings = Settings { node_name: "n-7".into(), ..Settings::new(Attach::Clsact) };
    let node = Node::without_agent(settings)?;
    let absent = node.weft(&["status"])?;
    assert_eq!(absent.status.code(), Some(1));
    assert_has(&absent.complaint(), &[&node.socket().to_string_lossy()]);
    assert_eq!(absent.complaint().lines().count(), 1, "{}", absent.complaint());
    thread::scope(|scope| -> Result<()> {
        let waiting = scope.spawn(|| node.weft(&["status", "--wait=10"]));
        thread::sleep(Duration::from_millis(100));
        node.start_agent()?;
        let output = waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        assert!(output.status.success(), "{}", output.complaint());
        assert_has(&output.text(), &["ready", "clsact", "10.244.0.0/24", "fd00:10:244::/64", "n-7"]);
        Ok(())
    })?;
    let status = node.weft_json(&["status"])?;
    assert_eq!((&status["ready"], &status["attach"], &status["node"]), (&json!(true), &json!("clsact"), &json!("n-7")));
    assert_eq!(status["abi"], weft_abi::VERSION);
    node.stop_agent(Signal::SIGTERM)?;
    let started = Instant::now();
    assert!(!node.weft(&["status", "--wait=1"])?.status.success());
    assert!(started.elapsed() >= Duration::from_secs(1));
    Ok(())
}

#[test]
fn the_agent_is_ready_soon_and_never_before_it_serves() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    let took = node.start_agent()?;
    // The target is 300 ms on a quiet machine; tests run side by side.
    assert!(took < Duration::from_secs(3), "{took:?}");
    node.pod().map(drop)
}

fn named_pod(node: &Node, name: &str) -> Result<Pod> {
    let mut sandbox = Sandbox::new(node)?;
    sandbox.attachment.args = format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};IgnoreUnknown=1");
    Pod::attach_as(node, &node.network(), sandbox)
}

#[test]
fn endpoints_are_listed_and_found_by_any_name() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    let (web, db) = (named_pod(&node, "web")?, named_pod(&node, "db")?);
    let (v4, v6) = (web.address(Family::V4)?.to_string(), web.address(Family::V6)?.to_string());
    let list = table(&node, &["endpoint", "list"])?;
    assert_has(&list, &["shop/web", "shop/db", &v4, &v6, &web.host_ifname()?, &db.host_ifname()?, "ready"]);
    let all = node.weft_json(&["endpoint", "list"])?;
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    let id = all[0]["id"].to_string();
    for name in ["web", "shop/web", &v4, &v6, &web.attachment().container_id, &id] {
        let one = node.weft_json(&["endpoint", "get", name])?;
        assert_eq!(one, all[0], "{name}");
        assert_eq!(one["endpoint"]["podMac"], web.mac()?.to_string());
        assert_has(&table(&node, &["endpoint", "get", name])?, &["shop/web", &v4, &v6]);
    }
    let unknown = node.weft(&["endpoint", "get", "nobody"])?;
    assert_eq!(unknown.status.code(), Some(1));
    assert_has(&unknown.complaint(), &["nobody"]);
    Ok(())
}

#[test]
fn maps_show_addresses_as_people_write_them_and_bpftool_shows_named_fields() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    let maps = node.weft_json(&["map", "list"])?;
    let names: Vec<&str> = maps.as_array().into_iter().flatten().filter_map(|map| map["name"].as_str()).collect();
    for name in [weft_abi::map::PODS, weft_abi::map::COUNTERS, weft_abi::map::EVENTS] {
        assert!(names.contains(&name), "{names:?}");
        assert_has(&table(&node, &["map", "list"])?, &[name]);
        assert!(node.weft(&["map", "dump", name])?.status.code().is_some_and(|code| code < 2));
    }
    let dump = table(&node, &["map", "dump", "pods"])?;
    let mac = pod.mac()?.to_string();
    assert_has(&dump, &[&pod.address(Family::V4)?.to_string(), &pod.address(Family::V6)?.to_string(), &mac]);
    assert_eq!(node.weft_json(&["map", "dump", "pods"])?.as_array().map(Vec::len), Some(2));
    assert!(!node.weft(&["map", "dump", "nope"])?.status.success());

    let pinned = node.pins().join("pods");
    let dump = exec::tool("bpftool", &["map", "dump", "pinned", &pinned.to_string_lossy()])?;
    assert_has(&dump, &["\"ifindex\"", "\"pod_mac\"", "\"host_mac\"", "\"endpoint_id\"", "\"flags\"", "\"words\""]);
    Ok(())
}

#[test]
fn drops_are_told_to_people_and_as_they_happen() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let (liar, victim) = (named_pod(&node, "liar")?, node.pod()?);
    let host = kernel::ip(node.netns(), &format!("link show {}", liar.host_ifname()?))?;
    let link = Link { src: liar.mac()?, dst: host[0]["address"].as_str().context("no MAC")?.parse()? };
    let frame = craft::udp(link, "198.51.100.9".parse()?, victim.address(Family::V4)?, 9, b"x")?;
    let mut follow = Command::new(need::binary("weft")?);
    follow.arg(format!("--run-dir={}", node.run_dir().display())).args(["drops", "--follow", "-o", "json"]);
    let log = node.dir().join("follow.log");
    let mut following = weft_tests::daemon::Daemon::spawn(node.site(), node.netns(), &mut follow, &log)?;
    thread::sleep(Duration::from_millis(200));
    let before = drops::read(&node)?;
    FrameSocket::open(liar.netns(), "eth0")?.send(&frame)?;
    drops::wait_for(&node, &before, Reason::SourceAddr, Direction::Egress)?;
    let until = Instant::now() + Duration::from_secs(2);
    // The pods' kernels have other things to say, too: they report their multicast groups.
    let told = loop {
        let log = following.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(told) = lines.find(|told| told["reason"] == "source-addr") {
            break told;
        }
        ensure!(Instant::now() < until, "nothing followed: {:?}", following.log());
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((&told["src"], &told["direction"]), (&json!("198.51.100.9"), &json!("egress")));
    following.end(Signal::SIGTERM)?;
    assert_has(&table(&node, &["drops"])?, &["source-addr", "198.51.100.9", "egress"]);
    Ok(())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() -> Result<()> {
    let mut settings = Settings::new(Attach::preferred()).env("WEFT_NODE_NAME", "from-env").env("WEFT_MTU", "1450");
    settings.env.push(("WEFT_POD_CIDR".into(), "10.11.0.0/24,fd00:11::/64".into()));
    let node = Node::without_agent(settings)?;
    let file = node.dir().join("agent.toml");
    let text =
        "standalone = true\nnode-name = 'from-file'\npod-cidr = ['10.10.0.0/24']\nmtu = 1300\nattach = 'clsact'\n";
    fs::write(&file, text)?;
    let mut command = node.bare_agent_command()?;
    command.arg("--config").arg(&file).args(node.dir_flags()).arg("--mtu=1400");
    node.start_agent_as(&mut command)?;
    let status = node.weft_json(&["status"])?;
    assert_eq!((&status["node"], &status["attach"]), (&json!("from-env"), &json!("clsact")));
    assert_eq!(status["pools"][0]["cidr"], "10.11.0.0/24");
    let pod = node.pod()?;
    assert_eq!(kernel::ip(pod.netns(), "link show eth0")?[0]["mtu"], 1400, "the flag wins");
    ping::must_reach(node.netns(), pod.address(Family::V6)?).map(drop)
}

#[test]
fn the_shipped_configuration_starts_an_agent() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    let mut command = node.bare_agent_command()?;
    command.arg("--config").arg(need::workspace().join("deploy/standalone/agent.toml")).args(node.dir_flags());
    node.start_agent_as(&mut command)?;
    assert_eq!(node.weft_json(&["status"])?["attach"], Attach::preferred().name(), "the agent's own choice");
    node.pod().map(drop)
}

#[test]
fn an_unknown_key_is_an_error_with_its_nearest_match() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    let file = node.dir().join("agent.toml");
    fs::write(&file, "standalone = true\npod-cird = ['10.10.0.0/24']\n")?;
    let mut command = node.bare_agent_command()?;
    command.arg("--config").arg(&file).args(node.dir_flags());
    let output = node.netns().enter(|| exec::output(&mut command, &[]))??;
    assert!(!output.status.success());
    assert_has(&output.complaint(), &["pod-cird", "\"pod-cidr\"", &file.to_string_lossy()]);
    assert_eq!(output.complaint().lines().count(), 1, "{}", output.complaint());
    let flag = node.run_agent(&["--pod-cird=10.0.0.0/24"])?;
    assert_has(&flag.complaint(), &["--pod-cird", "--pod-cidr"]);
    Ok(())
}

/// One HTTP request over TCP inside the node.
fn http(node: &Node, path: &str) -> Result<String> {
    let mut stream = node.netns().enter(|| stream::connect("127.0.0.1:9961".parse()?))??;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

#[test]
fn health_and_metrics_are_served_where_they_were_asked_for() -> Result<()> {
    let settings = Settings::new(Attach::preferred()).flag("--listen=127.0.0.1:9961");
    let node = Node::start_with(settings.pools(&["10.244.0.0/29", "fd00:10:244::/64"]))?;
    let (a, b) = (node.pod()?, node.pod()?);
    ping::must_reach(a.netns(), b.address(Family::V4)?)?;
    assert_has(&http(&node, "/healthz")?, &["HTTP/1.1 200", "ok"]);
    assert_has(&http(&node, "/readyz")?, &["HTTP/1.1 200"]);
    let metrics = http(&node, "/metrics")?;
    assert_has(
        &metrics,
        &["HTTP/1.1 200", "weft_endpoints 2", "weft_pool_addresses{", "reason=\"delivered\"", "# TYPE"],
    );
    for line in metrics.lines().skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty()) {
        let sample = line.rsplit_once(' ').context("no value")?;
        assert!(line.starts_with("# ") || sample.1.parse::<f64>().is_ok(), "{line:?} is no sample");
    }
    assert_has(&http(&node, "/nothing")?, &["HTTP/1.1 404"]);
    let _rest: Vec<Pod> = (0..3).map(|_| node.pod()).collect::<Result<_>>()?;
    assert_has(&http(&node, "/readyz")?, &["HTTP/1.1 503", "10.244.0.0/29"]);
    assert_has(&http(&node, "/healthz")?, &["HTTP/1.1 200"]);
    Ok(())
}

#[test]
fn the_service_manager_is_told_of_readiness_and_of_the_end() -> Result<()> {
    let node = Node::without_agent(Settings::new(Attach::preferred()))?;
    let path = node.dir().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut command = node.agent_command()?;
    command.args(node.dir_flags()).env("NOTIFY_SOCKET", &path);
    node.launch(&mut command)?;
    let told = || -> Result<String> {
        let mut message = [0; 256];
        let len = manager.recv(&mut message).context("nothing was told")?;
        Ok(String::from_utf8_lossy(&message[..len]).into_owned())
    };
    assert_has(&told()?, &["READY=1"]);
    assert_eq!(node.api("GET", "/v1/status", None)?.json["ready"], true, "ready was said before it was true");
    node.stop_agent(Signal::SIGTERM)?;
    assert_has(&told()?, &["STOPPING=1"]);
    Ok(())
}

#[test]
fn the_socket_is_root_s_and_answers_any_http_client() -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let node = Node::start(Attach::preferred())?;
    let socket = fs::metadata(node.socket())?;
    assert_eq!((socket.uid(), socket.permissions().mode() & 0o777), (0, 0o600));
    let path = node.socket();
    let args = ["--silent", "--show-error", "--unix-socket", &path.to_string_lossy(), "http://weft/v1/status"];
    let status: Value = serde_json::from_str(&exec::tool("curl", &args)?)?;
    assert_eq!(status["ready"], true);
    let unknown = node.api("GET", "/v1/nothing", None)?;
    assert_eq!((unknown.status, &unknown.json["kind"]), (404, &json!("not-found")));
    let bad = node.api("POST", "/v1/attachments", Some(&json!({ "key": 7 })))?;
    assert_eq!((bad.status / 100, &bad.json["kind"]), (4, &json!("invalid")));
    Ok(())
}
