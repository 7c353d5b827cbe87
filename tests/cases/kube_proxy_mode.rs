//! Which kube-proxy is beside us.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::cluster::{Cluster, SOON};
use weft_tests::fabric::{Layout, Routing};
use weft_tests::netns::Netns;
use weft_tests::node::{Attach, Family, GRANTED, Node, bounded};
use weft_tests::proxy::{Mode, Site};
use weft_tests::{exec, site, wait};

fn must_be(netns: &Netns, mode: &str, evidence: &[&str]) -> Result<()> {
    let found = netns.enter(weft_agent::node::proxy)?;
    let told = evidence.iter().all(|part| found.evidence.contains(part));
    ensure!(found.mode == mode && told, "{found:?} where {mode} is due");
    Ok(())
}

fn node_site(family: Family) -> Site {
    Site::new(if family == Family::V4 { [192, 0, 2, 11].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11].into() })
}

#[test]
fn each_mode_is_told_by_what_it_leaves_in_the_kernel() -> Result<()> {
    let site = site::Site::of_tests()?;
    let bare = Netns::with_loopback(&site.unique("b"))?;
    must_be(&bare, "none", &[])?;
    for (mode, name) in [(Mode::Nftables, "nftables"), (Mode::Iptables, "iptables")] {
        let netns = Netns::with_loopback(&site.unique("b"))?;
        mode.apply(&netns, node_site(Family::V6), &[])?;
        must_be(&netns, name, &["IPv6"])?;
        mode.apply(&netns, node_site(Family::V4), &[])?;
        must_be(&netns, name, &["IPv4 and IPv6"])?;
        // ipvs has rules too.
        exec::ip_batch(&netns, &["link add kube-ipvs0 type veth peer name far0"])?;
        must_be(&netns, "ipvs", &["kube-ipvs0"])?;
    }
    Ok(())
}

#[test]
fn what_the_kernel_does_not_tell_kube_proxy_does() -> Result<()> {
    let site = site::Site::of_tests()?;
    let netns = Netns::with_loopback(&site.unique("b"))?;
    Mode::Legacy.apply(&netns, node_site(Family::V4), &[])?;
    must_be(&netns, "unknown", &["iptables-legacy", "10249"])?;
    let listener = netns.enter(|| TcpListener::bind("127.0.0.1:10249"))??;
    let serving = thread::spawn(move || -> Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 512];
        let len = stream.read(&mut request)?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\niptables")?;
        Ok(String::from_utf8_lossy(&request[..len]).into_owned())
    });
    must_be(&netns, "iptables", &["kube-proxy says so"])?;
    let request = serving.join().ok().context("the listener panicked")??;
    ensure!(request.starts_with("GET /proxyMode HTTP/1.0\r\n"), "{request}");
    Ok(())
}

#[test]
fn a_kube_proxy_that_comes_after_an_agent_of_few_rights_is_found() -> Result<()> {
    let layout = Layout::new(Routing::Overlay, Attach::preferred()).nodes(1);
    let cluster = Cluster::lay(&site::Site::of_tests()?, layout)?;
    let node = cluster.member(1).node();
    let command = node.agent_command()?;
    let mut limited = bounded(Path::new(command.get_program()), &GRANTED.map(str::to_owned))?;
    limited.args(command.get_args()).args(node.dir_flags()).current_dir("/").env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    node.start_agent_as(&mut limited)?;
    let found = |mode: &str, limit: Duration| {
        let status = || -> Result<serde_json::Value> { Ok(node.api("GET", "/v1/status", None)?.json["proxy"].clone()) };
        wait::until("the mode is told", limit, || Ok(status()?["mode"] == mode))
            .with_context(|| format!("{mode} is due: {:?}", status()))
    };
    found("none", Duration::from_secs(2))?;
    Mode::Iptables.apply(node.netns(), node_site(Family::V4), &[])?;
    // The agent looks every five seconds.
    found("iptables", Duration::from_secs(7))?;
    let shown = node.weft(&["status"])?.text();
    ensure!(shown.contains("kube-proxy, iptables"), "{shown}");
    Ok(())
}

#[test]
fn services_that_ipvs_gives_a_node_are_no_addresses_of_its_ports() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    exec::ip_batch(
        node.netns(),
        &[
            "link add kube-ipvs0 type veth peer name far0",
            "addr add 10.96.0.10/32 dev kube-ipvs0",
            "addr add fd00:10:96::a/128 dev kube-ipvs0 nodad",
            // Last: whoever knows it has seen the others.
            "link add other0 type veth peer name far1",
            "addr add 192.0.2.77/32 dev other0",
        ],
    )?;
    let known = || -> Result<Vec<String>> {
        let dump = node.weft_json(&["map", "dump", "node_addrs"])?;
        let entries = dump.as_array().context("no list of entries")?;
        Ok(entries.iter().filter_map(|entry| entry["address"].as_str()).map(str::to_owned).collect())
    };
    let own = || Ok(known()?.iter().any(|address| address == "192.0.2.77"));
    wait::until("the node's address is known", SOON, own).with_context(|| format!("{:?}", known()))?;
    let services = |address: &String| ["10.96.0.10", "fd00:10:96::a"].contains(&address.as_str());
    ensure!(!known()?.iter().any(services), "{:?}", known()?);
    Ok(())
}
