//! What the plugin answers to what is wrong: the specification's code, the thing's name, and nothing half made.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weft_tests::node::{Attach, Family, Node};
use weft_tests::pod::{Pod, Sandbox};
use weft_tests::runtime::{CniError, Network, execute, meaning, refused};
use weft_tests::traffic::ping;
use weft_tests::{exec, kernel, need};

/// Runs the plugin with this environment and input and returns its error.
fn error_of(node: &Node, env: &[(&str, OsString)], stdin: &[u8]) -> Result<CniError> {
    let output = execute(node.netns(), &need::binary("weft-cni")?, env, stdin)?;
    let complaint = output.complaint();
    assert!(!complaint.contains("panicked"), "{complaint}");
    refused(meaning(&output)).with_context(|| format!("environment {env:?}"))
}

/// Nothing of a refused ADD stays.
fn assert_untouched(node: &Node, sandbox: &Sandbox) -> Result<()> {
    assert!(kernel::host_ends(node.netns())?.is_empty(), "a host end was left");
    assert!(kernel::devices(&sandbox.netns)?.is_empty(), "the pod's namespace was touched");
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]), "a record was left");
    Ok(())
}

#[test]
fn a_bad_environment_is_code_4_and_names_the_variable() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let config = node.network().config(&node.network().plugins[0], None).to_string();
    let good = sandbox.attachment.env("ADD");
    let bad: [(&str, Option<OsString>); 17] = [
        ("CNI_COMMAND", None),
        ("CNI_COMMAND", Some("add".into())),
        ("CNI_COMMAND", Some("PURGE".into())),
        ("CNI_CONTAINERID", None),
        ("CNI_CONTAINERID", Some("abc\n".into())),
        ("CNI_CONTAINERID", Some("../abc".into())),
        ("CNI_CONTAINERID", Some("-abc".into())),
        ("CNI_CONTAINERID", Some(OsString::from_vec(vec![b'a', 0xff]))),
        ("CNI_IFNAME", None),
        ("CNI_IFNAME", Some("sixteen-bytes-xx".into())),
        ("CNI_IFNAME", Some("a/b".into())),
        ("CNI_IFNAME", Some("a:b".into())),
        ("CNI_IFNAME", Some("..".into())),
        ("CNI_IFNAME", Some("a b".into())),
        ("CNI_NETNS", None),
        ("CNI_ARGS", Some("NOT-A-PAIR".into())),
        ("CNI_ARGS", Some("UNKNOWN=1".into())),
    ];
    for (name, value) in bad {
        let mut env: Vec<_> = good.iter().filter(|(key, _)| *key != name).cloned().collect();
        env.extend(value.map(|value| (name, value)));
        let error = error_of(&node, &env, config.as_bytes())?;
        assert_eq!(error.code, 4, "{env:?}: {error}");
        assert!(error.msg.contains(name) || error.details.contains(name), "{name}: {error}");
    }
    assert_untouched(&node, &sandbox)
}

#[test]
fn bad_input_is_code_6_or_7_and_never_a_panic() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let good = node.network().config(&node.network().plugins[0], None).to_string().into_bytes();
    let noise: Vec<u8> = (0_u32..4096).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let huge = format!(r#"{{"cniVersion":"1.1.0","name":"weft","x":"{}"}}"#, "x".repeat(10 << 20));
    let inputs: [(&str, Vec<u8>); 13] = [
        ("empty", Vec::new()),
        ("white space", b" \n\t".to_vec()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("cut by one", good[..good.len() - 1].to_vec()),
        ("10 MB", huge.into_bytes()),
        ("10 MB of brackets", vec![b'['; 10 << 20]),
        ("deep", format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000)).into_bytes()),
        ("not UTF-8", [b"{\"name\":\"", &[0xff, 0xfe][..], b"\"}"].concat()),
        ("noise", noise),
        ("zero bytes", vec![0; 100]),
        ("a list", b"[]".to_vec()),
        ("a number", b"7".to_vec()),
        ("two documents", [&good[..], &good].concat()),
    ];
    for operation in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for (what, input) in &inputs {
            let error = error_of(&node, &sandbox.attachment.env(operation), input)?;
            assert!([6, 7].contains(&error.code), "{operation}, {what}: {error}");
        }
    }
    assert_untouched(&node, &sandbox)
}

#[test]
fn a_bad_configuration_names_the_field() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let network = node.network();
    let cases: [(&str, Value, &[u64]); 12] = [
        ("name", Value::Null, &[7]),
        ("name", json!("../weft"), &[7]),
        ("name", json!(7), &[7]),
        ("agentSocket", json!("agent.sock"), &[7]),
        ("agentSocket", json!(7), &[7]),
        ("agentSockt", json!("/run/x"), &[7]),
        ("mtu", json!("big"), &[7]),
        ("mtu", json!(9), &[7, 2]),
        ("ipam", json!({ "type": "../host-local" }), &[7]),
        ("ipam", json!("host-local"), &[7]),
        ("prevResult", json!("none"), &[7]),
        ("cniVersion", json!(1), &[6, 7]),
    ];
    for (field, value, codes) in cases {
        let mut config = network.config(&network.plugins[0], None);
        config[field] = value;
        let error = error_of(&node, &sandbox.attachment.env("ADD"), config.to_string().as_bytes())?;
        assert!(codes.contains(&error.code), "{field}: {error}");
        assert!(error.msg.contains(field) || error.details.contains(field), "{field}: {error}");
    }
    assert_untouched(&node, &sandbox)
}

#[test]
fn a_bad_capability_names_the_field_and_what_weft_cannot_do_is_refused() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let port = |key: &str, value: Value| {
        let mut mapping = json!({ "hostPort": 8080, "containerPort": 80 });
        mapping[key] = value;
        json!([{ "hostPort": 8081, "containerPort": 81 }, mapping])
    };
    let cases = [
        ("ips[0]", json!({ "ips": ["10.244.0"] })),
        ("ips", json!({ "ips": "10.244.0.7" })),
        ("mac", json!({ "mac": "02:00:5e" })),
        ("mac", json!({ "mac": "01:00:5e:00:00:01" })),
        ("dns.servers", json!({ "dns": { "servers": "10.0.0.1" } })),
        ("ipRanges[0][0]", json!({ "ipRanges": [[{ "subnet": "10.244.0.0/33" }]] })),
        ("ipRanges[0][0]", json!({ "ipRanges": [[{ "subnet": "10.244.0.0/24", "rangeStart": "10.9.9.9" }]] })),
        ("portMappings[1].hostPort", json!({ "portMappings": port("hostPort", json!(0)) })),
        ("portMappings[1].hostPort", json!({ "portMappings": port("hostPort", json!(70000)) })),
        ("portMappings[1].hostPort", json!({ "portMappings": port("hostPort", json!(8081)) })),
        ("portMappings[1].containerPort", json!({ "portMappings": port("containerPort", json!("80")) })),
        ("portMappings[1].protocol", json!({ "portMappings": port("protocol", json!("icmp")) })),
        ("portMappings[1].hostIP", json!({ "portMappings": port("hostIP", json!("eth0")) })),
        ("portMappings[0]", json!({ "portMappings": [{ "hostPort": 8080 }] })),
        ("bandwidth.ingressRate", json!({ "bandwidth": { "ingressRate": "fast", "ingressBurst": 1000 } })),
        ("bandwidth.ingressRate", json!({ "bandwidth": { "ingressRate": -1000, "ingressBurst": 1000 } })),
        ("bandwidth.egressRate", json!({ "bandwidth": { "egressRate": 1e30, "egressBurst": 1000 } })),
        ("bandwidth.egressRate", json!({ "bandwidth": { "egressRate": 999, "egressBurst": 1000 } })),
        ("bandwidth.egressBurst", json!({ "bandwidth": { "egressRate": 0, "egressBurst": 1000 } })),
    ];
    for (field, value) in cases {
        let error = refused(node.network().offering(value.clone()).add(node.netns(), &sandbox.attachment))?;
        assert_eq!(error.code, 7, "{value}: {error}");
        assert!(error.msg.contains(&format!("runtimeConfig.{field}")), "{field}: {error}");
    }
    let unshaped = json!({ "bandwidth": { "egressRate": 8000, "unshapedSubnets": ["10.0.0.0/8"] } });
    let error = refused(node.network().offering(unshaped).add(node.netns(), &sandbox.attachment))?;
    assert_eq!(error.code, 2, "not supported is code 2: {error}");
    assert!(error.msg.contains("runtimeConfig.bandwidth.unshapedSubnets"), "{error}");
    assert_untouched(&node, &sandbox)
}

#[test]
fn addresses_outside_the_pools_and_reserved_ones_are_refused() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    for address in ["192.168.7.7", "10.244.0.0", "10.244.0.1", "10.244.0.255", "fd00:10:244::", "fd00:10:244::1"] {
        let network = node.network().offering(json!({ "ips": [address] }));
        let error = refused(network.add(node.netns(), &sandbox.attachment))?;
        assert!(error.code >= 100, "{address}: {error}");
        assert!(error.msg.contains(address), "{address}: {error}");
    }
    assert_untouched(&node, &sandbox)
}

#[test]
fn versions_that_lack_an_operation_or_do_not_exist_are_code_1() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let cases =
        [("0.3.1", "CHECK"), ("1.0.0", "GC"), ("1.0.0", "STATUS"), ("9.9.9", "ADD"), ("1.2.0", "DEL"), ("x", "ADD")];
    for (version, operation) in cases {
        let network = node.network().version(version);
        let config = network.config(&network.plugins[0], None).to_string();
        let error = error_of(&node, &sandbox.attachment.env(operation), config.as_bytes())?;
        assert_eq!(error.code, 1, "{operation} with {version}: {error}");
    }
    let error = refused(node.network().version("0.4.0").named("a/b").add(node.netns(), &sandbox.attachment))?;
    assert_eq!(error.cni_version, "0.4.0", "an error carries the configuration's version");
    Ok(())
}

#[test]
fn a_namespace_that_is_gone_is_code_3_and_another_file_code_4() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    let plain = node.dir().join("plain-file");
    fs::write(&plain, "")?;
    for (netns, code) in [(node.dir().join("gone"), 3), (plain, 4), (node.dir().to_owned(), 4)] {
        let mut attachment = sandbox.attachment.clone();
        attachment.netns = netns;
        let error = refused(node.network().add(node.netns(), &attachment))?;
        assert_eq!(error.code, code, "{}: {error}", attachment.netns.display());
        assert!(error.msg.contains(&*attachment.netns.to_string_lossy()), "{error}");
    }
    assert_untouched(&node, &sandbox)
}

#[test]
fn an_interface_of_that_name_stays_as_it_is() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let sandbox = Sandbox::new(&node)?;
    exec::ip_batch(
        &sandbox.netns,
        &["link add eth0 type bridge", "addr add 192.0.2.9/24 dev eth0", "link set eth0 up"],
    )?;
    let before = kernel::picture(&sandbox.netns)?;
    let error = refused(node.network().add(node.netns(), &sandbox.attachment))?;
    assert!(error.msg.contains("eth0") && error.code != 0, "{error}");
    assert_eq!(before, kernel::picture(&sandbox.netns)?);
    assert!(kernel::host_ends(node.netns())?.is_empty());
    // The runtime calls DEL after a failed ADD.
    node.network().del(node.netns(), &sandbox.attachment, None)?;
    assert_eq!(before, kernel::picture(&sandbox.netns)?, "DEL removed an interface that is not weft's");
    Ok(())
}

#[test]
fn the_same_attachment_twice_is_an_error_and_the_first_lives_on() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let (pod, witness) = (node.pod()?, node.pod()?);
    let error = refused(node.network().add(node.netns(), pod.attachment()))?;
    assert!(!error.msg.is_empty());
    let elsewhere = Sandbox::new(&node)?;
    let mut moved = pod.attachment().clone();
    moved.netns = elsewhere.attachment.netns.clone();
    refused(node.network().add(node.netns(), &moved)).context("the same container in another namespace")?;
    pod.check(&node)?;
    for family in Family::BOTH {
        ping::must_reach(witness.netns(), pod.address(family)?)?;
    }
    Ok(())
}

#[test]
fn without_an_agent_add_is_code_11_and_status_50_at_once() -> Result<()> {
    let node = Node::without_agent(weft_tests::node::Settings::new(Attach::preferred()))?;
    let sandbox = Sandbox::new(&node)?;
    let started = std::time::Instant::now();
    let error = refused(node.network().add(node.netns(), &sandbox.attachment))?;
    assert_eq!(error.code, 11, "{error}");
    assert!(error.msg.contains("agent"), "{error}");
    assert_eq!(refused(node.network().status(node.netns()))?.code, 50);
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(kernel::devices(&sandbox.netns)?.is_empty() && kernel::host_ends(node.netns())?.is_empty());
    Ok(())
}

#[test]
fn a_missing_delegate_is_named() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    let network: Network = node.network().with("ipam", json!({ "type": "no-such-ipam" }));
    let error = refused(Pod::attach(&node, &network))?;
    assert!(error.msg.contains("no-such-ipam"), "{error}");
    assert_eq!(node.weft_json(&["endpoint", "list"])?, json!([]));
    Ok(())
}
