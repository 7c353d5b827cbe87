//! What an operator sees of ports and limits, and sets: `weft port` and `weft endpoint set-rate`.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::runtime::refused;

/// A pod of a workload, with these capabilities.
fn pod(node: &Node, name: &str, capabilities: Value) -> Result<Pod> {
    let mut sandbox = Sandbox::new(node)?;
    sandbox.attachment.args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}");
    Pod::attach_as(node, &node.network().offering(capabilities), sandbox)
}

/// A command of `weft` that must succeed, its table.
fn table(node: &Node, args: &[&str]) -> Result<String> {
    let output = node.weft(args)?;
    ensure!(output.status.success(), "weft {}: {}", args.join(" "), output.complaint());
    Ok(output.text())
}

/// The words of the line that has this one.
fn line<'a>(text: &'a str, word: &str) -> Result<Vec<&'a str>> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.into_iter().find(|words| words.contains(&word)).with_context(|| format!("no {word} in\n{text}"))
}

#[test]
fn ports_are_listed_with_where_they_lead_and_whose_they_are() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    assert_eq!(node.weft_json(&["port", "list"])?, json!([]));
    // As containerd writes them, and as others do.
    let written_by_go = json!([
        { "HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" },
        { "HostPort": 53, "ContainerPort": 5353, "Protocol": "udp", "HostIP": "127.0.0.1" },
    ]);
    let web = pod(&node, "web", json!({ "portMappings": written_by_go }))?;
    let sctp = json!([{ "hostPort": 3868, "containerPort": 3868, "protocol": "SCTP", "hostIP": "::" }]);
    let hss = pod(&node, "hss", json!({ "portMappings": sctp }))?;
    let (v4, v6) = (web.address(Family::V4)?.to_string(), web.address(Family::V6)?.to_string());

    let text = table(&node, &["port", "list"])?;
    let ports: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(ports, ["53", "3868", "8080"], "{text}");
    let tcp = line(&text, "8080")?;
    assert_eq!(tcp[..3], ["tcp", "*", "8080"], "{text}");
    assert_eq!(tcp[3..6], [&format!("{v4}:80"), &format!("[{v6}]:80"), "shop/web"], "{text}");
    let udp = line(&text, "53")?;
    assert_eq!(udp[..5], ["udp", "127.0.0.1", "53", &format!("{v4}:5353"), "shop/web"], "{text}");
    let to = format!("[{}]:3868", hss.address(Family::V6)?);
    assert_eq!(line(&text, "3868")?[..5], ["sctp", "::", "3868", &to, "shop/hss"], "{text}");

    let list = node.weft_json(&["port", "list"])?;
    assert_eq!((&list[2]["hostPort"], &list[2]["addresses"]), (&json!(8080), &json!([v4, v6])), "{list}");
    assert_eq!(list[2]["key"]["containerId"], web.attachment().container_id.as_str());
    let shown = table(&node, &["endpoint", "get", "web"])?;
    ensure!(shown.contains("tcp port 8080 to 80") && shown.contains("udp 127.0.0.1:53 to 5353"), "{shown}");
    hss.del(&node)?;
    assert_eq!(node.weft_json(&["port", "list"])?.as_array().map(Vec::len), Some(2));
    web.del(&node)
}

#[test]
fn a_refused_port_names_its_holder() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let wants = |port: u16| json!({ "portMappings": [{ "hostPort": 1, "containerPort": 1 }, { "hostPort": port, "containerPort": 80 }] });
    let sandbox = Sandbox::new(&node)?;
    let refusal = |port| refused(node.network().offering(wants(port)).add(node.netns(), &sandbox.attachment));
    let _socket = node.netns().enter(|| TcpListener::bind("127.0.0.1:7001"))??;
    let error = refusal(7001)?;
    let name = std::fs::read_to_string("/proc/self/comm")?;
    let holder = format!("{} (pid {})", name.trim(), std::process::id());
    assert_eq!(error.code, 107, "{error}");
    for part in ["portMappings[1].hostPort", "tcp port 7001", &holder, "tcp 127.0.0.1:7001"] {
        ensure!(error.msg.contains(part), "no {part:?} in {error}");
    }
    let web = pod(&node, "web", json!({ "portMappings": [{ "hostPort": 7002, "containerPort": 80 }] }))?;
    let error = refusal(7002)?;
    let container = format!("container {}/eth0", web.attachment().container_id);
    assert_eq!(error.code, 107, "{error}");
    for part in ["portMappings[1].hostPort", "tcp port 7002", "pod shop/web", &container] {
        ensure!(error.msg.contains(part), "no {part:?} in {error}");
    }
    ensure!(!error.msg.contains('\n'), "{error}");
    Ok(())
}

/// The limits of the pod, as they are on record.
fn bandwidth(node: &Node) -> Result<Value> {
    Ok(node.weft_json(&["endpoint", "get", "web"])?["endpoint"]["bandwidth"].clone())
}

#[test]
fn limits_are_shown_and_changed_and_outlive_the_agent() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let limits =
        json!({ "IngressRate": 20_000_000, "IngressBurst": 4_294_967_295_u64, "EgressRate": 0, "EgressBurst": 0 });
    let web = pod(&node, "web", json!({ "bandwidth": limits }))?;
    assert_eq!(bandwidth(&node)?, json!({ "ingress": { "rate": 20_000_000 } }));
    let list = table(&node, &["endpoint", "list"])?;
    ensure!(list.contains("INGRESS") && list.contains("20 Mbit/s"), "{list}");

    let said = table(&node, &["endpoint", "set-rate", "shop/web", "--egress", "1.5M", "--egress-burst", "64k"])?;
    assert_eq!(said.trim(), "ingress 20 Mbit/s, egress 1.5 Mbit/s, burst 64 kbit");
    let both = json!({ "ingress": { "rate": 20_000_000 }, "egress": { "rate": 1_500_000, "burst": 64_000 } });
    assert_eq!(bandwidth(&node)?, both);
    web.check(&node)?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        node.stop_agent(signal)?;
        node.start_agent()?;
        assert_eq!(bandwidth(&node)?, both, "{signal}");
    }
    let address = web.address(Family::V6)?.to_string();
    let after = node.weft_json(&["endpoint", "set-rate", &address, "--ingress", "off"])?;
    assert_eq!(after["endpoint"]["bandwidth"], json!({ "egress": { "rate": 1_500_000, "burst": 64_000 } }));

    for (args, code, part) in [
        (&["web"][..], 2, "--ingress"),
        (&["web", "--ingress", "10Mbps"], 2, "10M"),
        (&["web", "--ingress", "999"], 1, "1000 bit/s"),
        (&["web", "--ingress-burst", "8k"], 1, "--ingress"),
        (&["db", "--ingress", "10M"], 1, "weft endpoint list"),
    ] {
        let output = node.weft(&[&["endpoint", "set-rate"], args].concat())?;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", output.complaint());
        ensure!(output.complaint().contains(part), "{args:?}: {}", output.complaint());
    }
    assert_eq!(bandwidth(&node)?, after["endpoint"]["bandwidth"]);
    web.check(&node)?;
    web.del(&node)
}
