//! Other plugins beside ours: delegated IPAM, and endpoints that another plugin made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::runtime::{Network, refused};
use weft_tests::traffic::{ping, stream};
use weft_tests::{exec, kernel, need, on_both_attachments};

on_both_attachments!(
    pods_of_host_local_talk_and_their_addresses_return,
    pods_of_a_bridge_are_adopted,
    pods_of_ptp_are_adopted,
);

fn host_local(node: &Node) -> Value {
    json!({
        "type": "host-local",
        "dataDir": node.dir().join("host-local"),
        "ranges": [[{ "subnet": "10.245.0.0/24" }], [{ "subnet": "fd00:10:245::/64" }]],
    })
}

/// Addresses that host-local holds for a network.
fn held(node: &Node, network: &str) -> Vec<String> {
    let dir = node.dir().join("host-local").join(network);
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("10.") || name.starts_with("fd00")).collect()
}

fn pods_of_host_local_talk_and_their_addresses_return(attach: Attach) -> Result<()> {
    need::reference_plugin("host-local")?;
    let node = Node::start(attach)?;
    let network = node.network().version("1.0.0").with("ipam", host_local(&node));
    let (a, b) = (Pod::attach(&node, &network)?, Pod::attach(&node, &network)?);
    for family in Family::BOTH {
        ping::must_reach(a.netns(), b.address(family)?)?;
        ping::must_reach(node.netns(), b.address(family)?)?;
        assert!(a.address(family)?.to_string().contains("245"), "host-local chose another range");
    }
    assert_eq!(held(&node, "weft").len(), 4);
    a.check(&node)?;
    fs::remove_dir_all(node.dir().join("host-local"))?;
    refused(a.check(&node)).context("CHECK is forwarded: host-local forgot the address")?;
    a.del(&node)?;
    b.del(&node)?;
    Ok(())
}

#[test]
fn host_local_s_addresses_are_released_by_del_and_by_a_late_failure() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network().version("1.0.0").with("ipam", host_local(&node));
    let pod = Pod::attach(&node, &network)?;
    assert_eq!(held(&node, "weft").len(), 2);
    pod.del(&node)?;
    assert_eq!(held(&node, "weft").len(), 0, "DEL was not forwarded");

    // The delegate answers, then the interface cannot be made: 60 bytes are no MTU for IPv6.
    let sandbox = Sandbox::new(&node)?;
    let doomed = network.clone().with("mtu", 1000.into());
    refused(doomed.add(node.netns(), &sandbox.attachment))?;
    assert_eq!(held(&node, "weft").len(), 0, "a failed ADD kept the delegate's addresses");
    assert!(kernel::devices(&sandbox.netns)?.is_empty() && kernel::host_ends(node.netns())?.is_empty());
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    Ok(())
}

#[test]
fn static_addresses_keep_their_prefix_and_work() -> Result<()> {
    need::reference_plugin("static")?;
    let node = Node::start(Attach::preferred())?;
    let ipam = json!({
        "type": "static",
        "addresses": [{ "address": "10.246.0.5/24" }, { "address": "fd00:10:246::5/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
        "dns": { "nameservers": ["10.0.0.10"] },
    });
    let pod = Pod::attach(&node, &node.network().version("1.0.0").with("ipam", ipam))?;
    assert_eq!(pod.result()["ips"][0]["address"], "10.246.0.5/24");
    assert_eq!(pod.result()["dns"]["nameservers"], json!(["10.0.0.10"]));
    let witness = node.pod()?;
    for family in Family::BOTH {
        ping::must_reach(witness.netns(), pod.address(family)?)?;
    }
    pod.check(&node)?;
    pod.del(&node)
}

/// An IPAM plugin that writes down what it was called with and fails when told to.
fn fake_ipam(node: &Node) -> Result<PathBuf> {
    let dir = node.dir().join("fake");
    fs::create_dir_all(&dir)?;
    let script = format!(
        "#!/bin/sh\nset -eu\ncd {dir}\ncat > $CNI_COMMAND.stdin\nenv | grep ^CNI_ | sort > $CNI_COMMAND.env\n\
         echo note of $CNI_COMMAND >&2\n\
         if [ -e fail.$CNI_COMMAND ]; then\n\
         echo '{{\"cniVersion\":\"1.1.0\",\"code\":123,\"msg\":\"told to fail\"}}'; exit 1; fi\n\
         if [ $CNI_COMMAND = ADD ]; then\n\
         echo '{{\"cniVersion\":\"1.1.0\",\"ips\":[{{\"address\":\"10.247.0.9/32\"}}]}}'; fi\n",
        dir = dir.display()
    );
    let path = dir.join("fake-ipam");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

#[test]
fn every_operation_reaches_the_delegate_with_the_same_environment_and_the_whole_configuration() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let dir = fake_ipam(&node)?;
    let mut network = node.network().with("ipam", json!({ "type": "fake-ipam", "own": ["key"] }));
    network.path.push(dir.clone());
    let pod = Pod::attach(&node, &network)?;
    assert_eq!(pod.address(Family::V4)?.to_string(), "10.247.0.9");
    pod.check(&node)?;
    network.status(node.netns())?;
    network.gc(node.netns(), &[pod.attachment()])?;
    pod.del(&node)?;
    for operation in ["ADD", "CHECK", "STATUS", "GC", "DEL"] {
        let stdin = fs::read_to_string(dir.join(format!("{operation}.stdin"))).context(operation)?;
        let config: Value = serde_json::from_str(&stdin).context(operation)?;
        assert_eq!(config["ipam"], json!({ "type": "fake-ipam", "own": ["key"] }), "{operation}");
        assert_eq!((&config["name"], &config["cniVersion"]), (&json!("weft"), &json!("1.1.0")), "{operation}");
        let env = fs::read_to_string(dir.join(format!("{operation}.env")))?;
        assert!(env.contains(&format!("CNI_COMMAND={operation}")), "{env}");
        if matches!(operation, "ADD" | "CHECK" | "DEL") {
            assert!(env.contains(&format!("CNI_CONTAINERID={}", pod.attachment().container_id)), "{env}");
        }
        if operation == "GC" {
            assert_eq!(config["cni.dev/valid-attachments"].as_array().map(Vec::len), Some(1), "{config}");
        }
    }
    for operation in ["STATUS", "CHECK"] {
        fs::write(dir.join(format!("fail.{operation}")), "")?;
    }
    assert_eq!(refused(network.status(node.netns()))?.code, 123, "the delegate's code is passed on");
    let again = Pod::attach(&node, &network)?;
    assert_eq!(refused(again.check(&node))?.code, 123);
    fs::write(dir.join("fail.ADD"), "")?;
    again.del(&node)?;
    let error = refused(Pod::attach(&node, &network))?;
    assert_eq!((error.code, error.msg.contains("told to fail")), (123, true), "{error}");
    assert!(kernel::host_ends(node.netns())?.is_empty());
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    Ok(())
}

fn chained(node: &Node, first: Value) -> Network {
    let ours = json!({ "type": "weft-cni", "agentSocket": node.socket() });
    Network::of(vec![first, ours]).named("chain").version("1.0.0")
}

/// Two pods whose plugin need not wait for duplicate address detection, which weft's own pods do without.
fn adopted_pair(node: &Node, network: &Network) -> Result<(Pod, Pod)> {
    let without_dad = |netns: &Netns| kernel::set_sysctl(netns, "net/ipv6/conf/default/accept_dad", "0");
    without_dad(node.netns())?;
    let (a, b) = (Sandbox::new(node)?, Sandbox::new(node)?);
    without_dad(&a.netns)?;
    without_dad(&b.netns)?;
    Ok((Pod::attach_as(node, network, a)?, Pod::attach_as(node, network, b)?))
}

fn adopt(node: &Node, network: &Network) -> Result<()> {
    let (a, b) = adopted_pair(node, network)?;
    let list = node.weft_json(&["endpoint", "list"])?;
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    assert!(list.as_array().into_iter().flatten().all(|one| one["origin"] == "adopted"), "{list}");
    for family in Family::BOTH {
        ping::must_reach(a.netns(), b.address(family)?)?;
        ping::must_reach(node.netns(), b.address(family)?)?;
        stream::both_ways(a.netns(), b.netns(), b.address(family)?, 4 << 20)?;
    }
    let before = kernel::forwarded(node.netns())?;
    ping::must_reach(a.netns(), b.address(Family::V4)?)?;
    assert_eq!(kernel::forwarded(node.netns())?, before, "adopted pods still go through the node's stack");
    a.check(node)?;
    let devices = kernel::devices(node.netns())?.len();
    a.del(node)?;
    assert_eq!(kernel::devices(node.netns())?.len(), devices - 1);
    node.network().named("chain").gc(node.netns(), &[])?;
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    assert_eq!(kernel::devices(node.netns())?.len(), devices - 1, "GC removed a device that another plugin owns");
    ping::must_reach(node.netns(), b.address(Family::V4)?).context("an abandoned pod keeps its own network")?;
    b.del(node)
}

fn pods_of_a_bridge_are_adopted(attach: Attach) -> Result<()> {
    need::reference_plugin("bridge")?;
    let node = Node::start_with(Settings::new(attach))?;
    let bridge = json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipam": host_local(&node) });
    adopt(&node, &chained(&node, bridge))
}

fn pods_of_ptp_are_adopted(attach: Attach) -> Result<()> {
    need::reference_plugin("ptp")?;
    let node = Node::start_with(Settings::new(attach))?;
    let mut ipam = host_local(&node);
    ipam["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    adopt(&node, &chained(&node, json!({ "type": "ptp", "ipam": ipam })))
}

#[test]
fn an_adopted_endpoint_may_not_lie_either() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let mut ipam = host_local(&node);
    ipam["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    let network = chained(&node, json!({ "type": "ptp", "ipam": ipam }));
    let (a, b) = (Pod::attach(&node, &network)?, Pod::attach(&node, &network)?);
    exec::ip_batch(a.netns(), &["addr add 10.245.0.200/32 dev eth0"])?;
    let from_other = exec::tool_in(a.netns(), "ip", &["-4", "route", "get", &b.address(Family::V4)?.to_string()])?;
    assert!(!from_other.contains("10.245.0.200"), "{from_other}");
    exec::ip_batch(a.netns(), &[&format!("addr del {}/24 dev eth0", a.address(Family::V4)?)])?;
    let report = ping::ping(a.netns(), b.address(Family::V4)?, 1);
    assert!(
        report.is_err() || report.is_ok_and(|report| report.replies.is_empty()),
        "a foreign address was let through"
    );
    Ok(())
}
