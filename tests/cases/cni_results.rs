//! What the plugin answers when all is well: every version's shape, every capability, every argument.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weft_cni::link;
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox, addresses};
use weft_tests::runtime::{Network, execute, meaning, refused};
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, need};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn version_needs_nothing_but_its_command_and_echoes_the_input_s() -> Result<()> {
    let node = Node::without_agent(weft_tests::node::Settings::new(Attach::preferred()))?;
    let plugin = need::binary("weft-cni")?;
    for version in VERSIONS {
        let stdin = json!({ "cniVersion": version }).to_string();
        let output = execute(node.netns(), &plugin, &[("CNI_COMMAND", "VERSION".into())], stdin.as_bytes())?;
        let answer = meaning(&output)?;
        assert_eq!(answer["cniVersion"], version);
        assert_eq!(answer["supportedVersions"], json!(VERSIONS));
        assert!(output.stderr.is_empty(), "{}", output.complaint());
    }
    Ok(())
}

#[test]
fn loopback_needs_no_agent() -> Result<()> {
    let node = Node::without_agent(weft_tests::node::Settings::new(Attach::preferred()))?;
    let plugin = need::binary("weft-cni")?;
    for version in VERSIONS {
        let sandbox = Sandbox::new(&node)?;
        let attachment = sandbox.attachment.interface("lo");
        let ask = |operation: &str, more: Value| {
            let mut conf = json!({ "cniVersion": version, "name": "cni-loopback", "type": "loopback" });
            conf["prevResult"] = more;
            meaning(&execute(node.netns(), &plugin, &attachment.env(operation), conf.to_string().as_bytes())?)
        };
        let result = ask("ADD", Value::Null).context(version)?;
        let addresses = ["127.0.0.1/8", "::1/128"];
        if version < "0.3.0" {
            assert_eq!([&result["ip4"]["ip"], &result["ip6"]["ip"]], addresses);
        } else {
            assert_eq!([&result["ips"][0]["address"], &result["ips"][1]["address"]], addresses);
            assert_eq!(result["interfaces"][0]["name"], "lo");
            assert_eq!(result["interfaces"][0]["sandbox"], *attachment.netns.to_string_lossy());
        }
        ping::must_reach(&sandbox.netns, "127.0.0.1".parse()?).context(version)?;
        ping::must_reach(&sandbox.netns, "::1".parse()?).context(version)?;
        if version >= "0.4.0" {
            ask("CHECK", result.clone()).context(version)?;
            exec::tool_in(&sandbox.netns, "ip", &["link", "set", "lo", "down"])?;
            let error = refused(ask("CHECK", result.clone()))?;
            ensure!(error.msg.contains("lo is down"), "{error}");
        }
        ask("DEL", result).context(version)?;
    }
    Ok(())
}

#[test]
fn a_result_has_the_shape_of_its_version_and_pods_of_all_versions_talk() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let witness = node.pod()?;
    for version in VERSIONS {
        let network = node.network().version(version);
        let sandbox = Sandbox::new(&node)?;
        let result = network.add(node.netns(), &sandbox.attachment)?;
        assert_eq!(result["cniVersion"], version);
        let given = match version {
            "0.1.0" | "0.2.0" => old_shape(&result),
            _ => new_shape(&result, version, &sandbox),
        };
        for address in given.with_context(|| format!("{version}: {result}"))? {
            ping::must_reach(witness.netns(), address).context(version)?;
        }
        network.del(node.netns(), &sandbox.attachment, Some(&result)).context(version)?;
        assert!(kernel::devices(&sandbox.netns)?.is_empty(), "{version}: DEL left an interface");
    }
    Ok(())
}

fn old_shape(result: &Value) -> Result<Vec<IpAddr>> {
    ensure!(result.get("interfaces").is_none() && result.get("ips").is_none());
    ["ip4", "ip6"]
        .into_iter()
        .map(|key| {
            let text = result[key]["ip"].as_str().with_context(|| format!("no {key}"))?;
            ensure!(result[key]["gateway"].is_string() && result[key]["routes"].is_array(), "{key}");
            Ok(text.split('/').next().context("no address")?.parse()?)
        })
        .collect()
}

fn new_shape(result: &Value, version: &str, sandbox: &Sandbox) -> Result<Vec<IpAddr>> {
    let interfaces = result["interfaces"].as_array().context("no interfaces")?;
    ensure!(interfaces.len() == 2);
    for interface in interfaces {
        ensure!(interface["name"].is_string() && interface["mac"].is_string());
        ensure!(interface.get("mtu").is_none() || version == "1.1.0", "mtu came with 1.1");
    }
    for ip in result["ips"].as_array().context("no ips")? {
        let index = usize::try_from(ip["interface"].as_u64().context("no interface index")?)?;
        let interface = interfaces.get(index).context("no such interface")?;
        ensure!(interface["name"] == "eth0");
        ensure!(interface["sandbox"] == *sandbox.attachment.netns.to_string_lossy(), "sandbox is CNI_NETNS verbatim");
        let family = if ip["address"].as_str().is_some_and(|text| text.contains(':')) { "6" } else { "4" };
        let expected = if version < "1.0.0" { json!(family) } else { Value::Null };
        ensure!(ip["version"] == expected, "ips[].version exists in 0.3 and 0.4 alone");
    }
    let names = addresses(result)?;
    ensure!(names.len() == 2 && names[0].is_ipv4(), "one address of each family, IPv4 first");
    ensure!(result["routes"].as_array().is_some_and(|routes| routes.len() == 2), "a default route of each family");
    Ok(names)
}

#[test]
fn the_shipped_conflist_works_with_nothing_but_its_socket_changed() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let path = need::workspace().join("deploy/standalone/05-weft.conflist");
    let mut shipped: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    shipped["plugins"][0]["agentSocket"] = json!(node.socket());
    let network = Network {
        name: shipped["name"].as_str().context("no name")?.into(),
        cni_version: shipped["cniVersion"].as_str().context("no cniVersion")?.into(),
        ..Network::of(shipped["plugins"].as_array().context("no plugins")?.clone())
    };
    let pod = Pod::attach(&node, &network.offering(json!({ "portMappings": [], "bandwidth": {}, "dns": {} })))?;
    ping::must_reach(node.netns(), pod.address(Family::V4)?)?;
    pod.check(&node)?;
    pod.del(&node)
}

#[test]
fn capabilities_choose_address_mac_range_and_dns() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let dns = json!({ "servers": ["10.0.0.10"], "searches": ["svc.local"], "options": ["ndots:5"] });
    let network = node.network().offering(json!({
        "ips": ["10.244.0.77/24", "fd00:10:244::77"],
        "mac": "02:00:5e:10:00:01",
        "dns": dns,
    }));
    let pod = Pod::attach(&node, &network)?;
    assert_eq!(pod.address(Family::V4)?.to_string(), "10.244.0.77");
    assert_eq!(pod.address(Family::V6)?.to_string(), "fd00:10:244::77");
    assert_eq!(pod.mac()?.to_string(), "02:00:5e:10:00:01");
    assert_eq!(kernel::ip(pod.netns(), "link show eth0")?[0]["address"], "02:00:5e:10:00:01");
    assert_eq!(pod.result()["dns"]["nameservers"], json!(["10.0.0.10"]));
    assert_eq!(pod.result()["dns"]["search"], json!(["svc.local"]));
    assert_eq!(pod.result()["dns"]["options"], json!(["ndots:5"]));
    ping::must_reach(node.netns(), pod.address(Family::V6)?)?;

    let ranges = json!([
        [{ "subnet": "10.244.0.0/24", "rangeStart": "10.244.0.100", "rangeEnd": "10.244.0.101" }],
        [{ "subnet": "fd00:10:244::/64", "rangeStart": "fd00:10:244::a0", "rangeEnd": "fd00:10:244::a1" }]
    ]);
    let from_ranges = node.network().offering(json!({ "ipRanges": ranges }));
    let both = [Pod::attach(&node, &from_ranges)?, Pod::attach(&node, &from_ranges)?];
    for pod in &both {
        assert!(["10.244.0.100", "10.244.0.101"].contains(&pod.address(Family::V4)?.to_string().as_str()));
        assert!(["fd00:10:244::a0", "fd00:10:244::a1"].contains(&pod.address(Family::V6)?.to_string().as_str()));
    }
    let third = refused(Pod::attach(&node, &from_ranges))?;
    assert!(third.code >= 100 || third.code == 11, "{third}");
    let taken = refused(Pod::attach(&node, &node.network().offering(json!({ "ips": ["10.244.0.77"] }))))?;
    assert!(taken.msg.contains("10.244.0.77"), "{taken}");
    Ok(())
}

#[test]
fn arguments_choose_address_and_mac_and_name_the_pod() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let mut sandbox = Sandbox::new(&node)?;
    sandbox.attachment.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u-1;\
                               OTHER=x;IP=10.244.0.42;MAC=02:00:5e:10:00:02"
        .into();
    let pod = Pod::attach_as(&node, &node.network(), sandbox)?;
    assert_eq!(pod.address(Family::V4)?.to_string(), "10.244.0.42");
    assert_eq!(pod.mac()?.to_string(), "02:00:5e:10:00:02");
    ping::must_reach(node.netns(), pod.address(Family::V6)?)?;
    let list = node.weft_json(&["endpoint", "list"])?;
    assert_eq!(list[0]["pod"], json!({ "namespace": "default", "name": "web-0", "uid": "u-1" }));
    Ok(())
}

#[test]
fn a_container_may_have_several_interfaces() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    let second = pod.attachment().interface("net1");
    let result = node.network().add(node.netns(), &second)?;
    let mut devices = kernel::devices(pod.netns())?;
    devices.sort();
    assert_eq!(devices, ["eth0", "net1"]);
    for address in addresses(&result)? {
        assert!(address != pod.address(Family::V4)? && address != pod.address(Family::V6)?);
    }
    node.network().check(node.netns(), &second, &result)?;
    node.network().del(node.netns(), &second, Some(&result))?;
    assert_eq!(kernel::devices(pod.netns())?, ["eth0"]);
    ping::must_reach(node.netns(), pod.address(Family::V4)?).map(drop)
}

#[test]
fn host_interface_names_follow_from_the_attachment_and_never_collide() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    assert_eq!(pod.host_ifname()?, link::host_ifname(&pod.key()));
    assert_eq!(kernel::host_ends(node.netns())?, [pod.host_ifname()?]);
    pod.del(&node)?;
    let again = node.network().add(node.netns(), pod.attachment())?;
    assert_eq!(again["interfaces"][0]["name"], pod.host_ifname()?.as_str());
    Ok(())
}

#[test]
fn the_pod_s_side_is_ready_and_quiet() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let pod = node.pod()?;
    let links = kernel::ip(pod.netns(), "link show")?;
    assert!(links.iter().all(|link| link["flags"].to_string().contains("\"UP\"")), "{links:?}");
    for family in ["-4", "-6"] {
        let routes = kernel::ip(pod.netns(), &format!("{family} route show default"))?;
        assert_eq!(routes.len(), 1, "{routes:?}");
        let gateway = if family == "-4" { "169.254.1.1" } else { "fe80::1" };
        assert_eq!(routes[0]["gateway"], gateway);
    }
    assert_eq!(kernel::sysctl(pod.netns(), "net/ipv6/conf/eth0/accept_ra")?, "0");
    assert_eq!(kernel::sysctl(pod.netns(), "net/ipv6/conf/eth0/disable_ipv6")?, "0");
    let tentative = kernel::ip(pod.netns(), "-6 addr show tentative")?;
    assert!(tentative.iter().all(|link| link["addr_info"].as_array().is_none_or(Vec::is_empty)), "{tentative:?}");
    Ok(())
}
