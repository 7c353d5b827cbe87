//! CHECK finds what is gone, GC removes what is not listed, STATUS tells the truth, DEL always succeeds.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_abi::Addr;
use weft_tests::node::{Attach, Family, Node, Settings};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::runtime::refused;
use weft_tests::{exec, kernel, on_both_attachments};

on_both_attachments!(check_passes_on_a_whole_pod_and_finds_every_missing_part);

/// Breaks one thing of a pod.
type Break = fn(&Node, &Pod) -> Result<()>;

fn inside(pod: &Pod, line: &str) -> Result<()> {
    exec::ip_batch(pod.netns(), &[line])
}

fn outside(node: &Node, line: &str) -> Result<()> {
    exec::ip_batch(node.netns(), &[line])
}

fn detach(node: &Node, pod: &Pod, hook: &str) -> Result<()> {
    let host = pod.host_ifname()?;
    if node.settings().attach == Some(Attach::Tcx) {
        let program = if hook == "ingress" { "from_pod" } else { "to_pod" };
        // The link's last reference: without its pin the kernel takes the program off.
        return fs::remove_file(node.pins().join("links").join(format!("{host}_{program}"))).context("remove a pin");
    }
    exec::tool_in(node.netns(), "tc", &["filter", "del", "dev", &host, hook]).map(drop)
}

fn forget_entry(node: &Node, pod: &Pod, family: Family) -> Result<()> {
    let pinned = node.pins().join(weft_abi::map::PODS);
    let key: Vec<String> = Addr::from(pod.address(family)?).octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = pinned.to_string_lossy();
    let words: Vec<&str> =
        ["map", "delete", "pinned", &pinned, "key", "hex"].into_iter().chain(key.iter().map(String::as_str)).collect();
    exec::tool("bpftool", &words).map(drop)
}

const PARTS: [(&str, Break); 16] = [
    ("the IPv4 address", |_, pod| inside(pod, &format!("addr del {}/32 dev eth0", pod.address(Family::V4)?))),
    ("the IPv6 address", |_, pod| inside(pod, &format!("addr del {}/128 dev eth0", pod.address(Family::V6)?))),
    ("the IPv4 default route", |_, pod| inside(pod, "route del default via 169.254.1.1 dev eth0")),
    ("the IPv6 default route", |_, pod| inside(pod, "route del default via fe80::1 dev eth0")),
    ("the IPv4 neighbour", |_, pod| inside(pod, "neigh del 169.254.1.1 dev eth0")),
    ("the IPv6 neighbour", |_, pod| inside(pod, "neigh del fe80::1 dev eth0")),
    ("the interface's state", |_, pod| inside(pod, "link set eth0 down")),
    ("the interface's MAC", |_, pod| inside(pod, "link set eth0 address 02:00:00:00:00:77")),
    ("the host route", |node, pod| outside(node, &format!("route del {}/32", pod.address(Family::V4)?))),
    ("the IPv6 host route", |node, pod| outside(node, &format!("route del {}/128", pod.address(Family::V6)?))),
    ("the IPv4 map entry", |node, pod| forget_entry(node, pod, Family::V4)),
    ("the IPv6 map entry", |node, pod| forget_entry(node, pod, Family::V6)),
    ("from_pod", |node, pod| detach(node, pod, "ingress")),
    ("to_pod", |node, pod| detach(node, pod, "egress")),
    ("the host end's state", |node, pod| outside(node, &format!("link set {} down", pod.host_ifname()?))),
    // Last: the agent looks at every pod soon after, and mends.
    ("the interface", |_, pod| inside(pod, "link del eth0")),
];

fn check_passes_on_a_whole_pod_and_finds_every_missing_part(attach: Attach) -> Result<()> {
    let node = Node::start(attach)?;
    for (part, break_it) in PARTS {
        let pod = node.pod()?;
        pod.check(&node).context("a whole pod")?;
        break_it(&node, &pod).with_context(|| format!("break {part}"))?;
        let error = refused(pod.check(&node)).with_context(|| format!("{part} is gone"))?;
        assert!(!error.msg.is_empty(), "{part}: {error}");
        pod.del(&node).with_context(|| format!("DEL without {part}"))?;
        assert!(kernel::host_ends(node.netns())?.is_empty(), "DEL without {part} left the host end");
    }
    Ok(())
}

#[test]
fn check_needs_a_result_and_refuses_a_strange_one() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let (pod, other) = (node.pod()?, node.pod()?);
    let network = node.network();
    let config = network.config(&network.plugins[0], None);
    let error = refused(network.run(node.netns(), &network.plugins[0], pod.attachment().env("CHECK"), &config))?;
    assert!(error.msg.contains("prevResult"), "{error}");
    refused(network.check(node.netns(), pod.attachment(), other.result())).context("another pod's result")?;
    other.del(&node)?;
    refused(other.check(&node)).context("a pod that is gone")?;
    // A later plugin may have added an interface and an address of its own.
    let mut richer = pod.result().clone();
    richer["interfaces"].as_array_mut().context("no interfaces")?.push(json!({ "name": "ifb0" }));
    richer["ips"].as_array_mut().context("no ips")?.push(json!({ "address": "192.0.2.7/24", "interface": 2 }));
    network.check(node.netns(), pod.attachment(), &richer)
}

#[test]
fn gc_removes_what_is_not_listed_of_that_network_alone() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let (stays, goes) = (node.pod()?, node.pod()?);
    let foreign = Pod::attach(&node, &node.network().named("other"))?;
    let second = goes.attachment().interface("net1");
    node.network().add(node.netns(), &second)?;
    node.network().gc(node.netns(), &[stays.attachment(), &second])?;
    stays.check(&node)?;
    foreign.check(&node)?;
    assert_eq!(kernel::devices(goes.netns())?, ["net1"], "GC is by container and interface");
    assert_eq!(kernel::host_ends(node.netns())?.len(), 3);
    node.network().gc(node.netns(), &[])?;
    node.network().named("other").gc(node.netns(), &[])?;
    assert!(kernel::host_ends(node.netns())?.is_empty());
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    Ok(())
}

#[test]
fn status_is_ready_until_a_pool_is_exhausted_or_the_agent_is_gone() -> Result<()> {
    // Six addresses less the gateway's.
    let node = Node::start_with(Settings::new(Attach::preferred()).pools(&["10.244.0.0/29", "fd00:10:244::/64"]))?;
    let network = node.network();
    network.status(node.netns())?;
    let mut pods = Vec::new();
    let refusal = loop {
        match node.pod() {
            Ok(pod) => pods.push(pod),
            Err(error) => break refused::<Pod>(Err(error))?,
        }
        assert!(pods.len() < 6, "a /29 held {} pods", pods.len());
    };
    assert_eq!(pods.len(), 5);
    assert!(refusal.to_string().contains("10.244.0.0/29"), "{refusal}");
    let error = refused(network.status(node.netns()))?;
    assert!([50, 51].contains(&error.code), "{error}");
    assert!(error.to_string().contains("10.244.0.0/29"), "{error}");
    pods[0].del(&node)?;
    network.status(node.netns()).context("after an address came free")?;
    node.stop_agent(Signal::SIGTERM)?;
    assert_eq!(refused(network.status(node.netns()))?.code, 50);
    Ok(())
}

#[test]
fn del_succeeds_however_little_is_left() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network = node.network();
    let never = Sandbox::new(&node)?;
    network.del(node.netns(), &never.attachment, None).context("never added")?;

    let twice = node.pod()?;
    twice.del(&node)?;
    twice.del(&node).context("twice")?;

    let no_result = node.pod()?;
    network.del(node.netns(), no_result.attachment(), None).context("without prevResult")?;
    let no_netns = node.pod()?;
    network.del(node.netns(), &no_netns.attachment().without_netns(), None).context("without CNI_NETNS")?;

    let gone = node.pod()?;
    gone.netns().remove_name();
    gone.del(&node).context("the namespace is gone")?;

    let replaced = node.pod()?;
    replaced.netns().remove_name();
    fs::write(replaced.netns().path(), "")?;
    replaced.del(&node).context("a plain file where the namespace was")?;

    let inner = node.pod()?;
    inside(&inner, "link del eth0")?;
    inner.del(&node).context("the interface is gone")?;

    let strange = node.pod()?;
    network.del(node.netns(), strange.attachment(), Some(&Value::Null)).context("a null prevResult")?;
    assert!(kernel::host_ends(node.netns())?.is_empty(), "a host end was left");
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    Ok(())
}

#[test]
fn freed_addresses_rest_before_they_are_used_again() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let first = node.pod()?;
    let freed = [first.address(Family::V4)?, first.address(Family::V6)?];
    first.del(&node)?;
    for _ in 0..20 {
        let pod = node.pod()?;
        assert!(!freed.contains(&pod.address(Family::V4)?) && !freed.contains(&pod.address(Family::V6)?));
    }
    Ok(())
}
