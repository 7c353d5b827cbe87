//! Good configurations are read, wrong ones are refused by name.

use proptest::prelude::*;
use serde_json::json;

use crate::api::RateLimit;

use super::*;

fn conf(value: Value) -> Result<NetConf, ConfError> {
    let Value::Object(mut object) = value else { unreachable!() };
    object.entry("name").or_insert_with(|| "net".into());
    NetConf::parse(object, Version::V1_1_0)
}

fn request(value: Value) -> Result<Request, ConfError> {
    conf(value)?.request(Args::default())
}

#[test]
fn the_smallest_configuration_is_enough() {
    let conf = conf(json!({"type": "weft-cni"})).unwrap();
    assert_eq!(conf.agent_socket, PathBuf::from(DEFAULT_SOCKET));
    assert_eq!(conf.ipam, None);
    assert_eq!(conf.request(Args::default()).unwrap(), Request::default());
    assert_eq!(conf.prev_result().unwrap(), None);
}

#[test]
fn everything_is_read() {
    let request = request(json!({
        "mtu": 1400,
        "dns": {"nameservers": ["10.0.0.1"], "domain": "a.example"},
        "runtimeConfig": {
            "ips": ["10.1.2.3/24", "fd00::3"],
            "mac": "02:00:5e:10:00:01",
            "dns": {"servers": ["10.0.0.2"], "searches": ["b.example"], "options": ["ndots:5"]},
            "ipRanges": [[{"subnet": "10.1.2.0/24", "gateway": "10.1.2.1"}]],
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": ""},
                {"HostPort": 53, "ContainerPort": 5353, "Protocol": "udp", "HostIP": "192.0.2.1"},
            ],
            "bandwidth": {"ingressRate": 8000, "ingressBurst": 2_147_483_647},
        },
    }))
    .unwrap();
    assert_eq!(request.mtu, Some(1400));
    assert_eq!(request.ips, ["10.1.2.3".parse::<IpAddr>().unwrap(), "fd00::3".parse().unwrap()]);
    assert_eq!(request.mac, Some(Mac([2, 0, 0x5e, 0x10, 0, 1])));
    assert_eq!(request.dns.nameservers, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!((request.dns.search, request.dns.domain), (vec!["b.example".to_owned()], String::new()));
    assert_eq!(request.ranges.len(), 1);
    let ports: Vec<_> = request.service.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["tcp port 8080", "udp 192.0.2.1:53"]);
    let ingress = Some(RateLimit { rate: 8000, burst: 0 });
    assert_eq!(request.service.bandwidth, Bandwidth { ingress, egress: None });
}

#[test]
fn a_wrong_field_is_named() {
    for (value, path) in [
        (json!({"name": 1}), "name"),
        (json!({"name": "a\n"}), "name"),
        (json!({"name": null}), "name"),
        (json!({"agentSocket": "run/agent.sock"}), "agentSocket"),
        (json!({"agentSocket": 1}), "agentSocket"),
        (json!({"ipam": "host-local"}), "ipam"),
        (json!({"ipam": {"subnet": "10.1.0.0/16"}}), "ipam.type"),
        (json!({"ipam": {"type": "../host-local"}}), "ipam.type"),
        (json!({"ipam": {"type": 1}}), "ipam.type"),
        (json!({"mtu": "1500"}), "mtu"),
        (json!({"mtu": 67}), "mtu"),
        (json!({"mtu": 65536}), "mtu"),
        (json!({"mtu": -1}), "mtu"),
        (json!({"dns": {"nameservers": ["one"]}}), "dns.nameservers[0]"),
        (json!({"args": {"cni": {"ips": ["one"]}}}), "args.cni.ips[0]"),
        (json!({"runtimeConfig": []}), "runtimeConfig"),
        (json!({"runtimeConfig": {"ips": ["10.1.2.3", "x"]}}), "runtimeConfig.ips[1]"),
        (json!({"runtimeConfig": {"ips": "10.1.2.3"}}), "runtimeConfig.ips"),
        (json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}), "runtimeConfig.mac"),
        (json!({"runtimeConfig": {"mac": "02:00:5e"}}), "runtimeConfig.mac"),
        (json!({"runtimeConfig": {"dns": {"servers": ["x"]}}}), "runtimeConfig.dns.servers[0]"),
        (json!({"runtimeConfig": {"ipRanges": [{"subnet": "10.1.2.0/24"}]}}), "runtimeConfig.ipRanges[0]"),
        (json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.2.1/24"}]]}}), "runtimeConfig.ipRanges[0][0]"),
        (
            json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "fd00::/64"}]]}}),
            "runtimeConfig.ipRanges[0]",
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]}}),
            "runtimeConfig.portMappings[0].hostPort",
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 65536}]}}),
            "runtimeConfig.portMappings[0].containerPort",
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]}}),
            "runtimeConfig.portMappings[0].protocol",
        ),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 1, "hostIP": "here"}]}}),
            "runtimeConfig.portMappings[0].hostIP",
        ),
        (
            json!({"runtimeConfig": {"portMappings": [
                {"hostPort": 1, "containerPort": 1}, {"hostPort": 1, "containerPort": 2, "hostIP": "::1"},
            ]}}),
            "runtimeConfig.portMappings[1].hostPort",
        ),
        (json!({"runtimeConfig": {"bandwidth": {"ingressRate": -1}}}), "runtimeConfig.bandwidth.ingressRate"),
        (json!({"runtimeConfig": {"bandwidth": {"egressRate": 1}}}), "runtimeConfig.bandwidth.egressRate"),
        (json!({"runtimeConfig": {"bandwidth": {"egressBurst": 9}}}), "runtimeConfig.bandwidth.egressBurst"),
    ] {
        let error = request(value.clone()).unwrap_err();
        assert!(error.to_string().starts_with(path), "{value}: {error}");
        assert!(!matches!(error, ConfError::Unsupported { .. }), "{value}: {error}");
    }
}

#[test]
fn what_is_not_done_is_refused_with_key_and_value() {
    for (value, path, part) in [
        (
            json!({"runtimeConfig": {"bandwidth": {"egressRate": 8000, "unshapedSubnets": ["10.0.0.0/8"]}}}),
            "runtimeConfig.bandwidth.unshapedSubnets",
            "10.0.0.0/8",
        ),
        (json!({"runtimeConfig": {"aliases": ["db"]}}), "runtimeConfig.aliases", "db"),
    ] {
        let error = request(value).unwrap_err();
        assert!(matches!(error, ConfError::Unsupported { .. }), "{error}");
        assert!(error.to_string().starts_with(path) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn asking_for_nothing_is_fine() {
    let nothing = json!({"ips": null, "portMappings": [], "bandwidth": {"ingressRate": 0}, "dns": {}, "aliases": []});
    assert_eq!(request(json!({"runtimeConfig": nothing, "ipam": {}})).unwrap(), Request::default());
}

#[test]
fn a_delegate_may_have_capabilities_of_its_own() {
    let value = json!({"ipam": {"type": "host-local"}, "runtimeConfig": {"cgroupPath": "/a"}});
    assert!(request(value).is_ok());
}

#[test]
fn the_more_specific_source_of_addresses_wins() {
    let address = |text: &str| vec![text.parse::<IpAddr>().unwrap()];
    let args = Args { ips: address("10.1.2.1"), mac: Some(Mac([2, 0, 0, 0, 0, 1])), pod: None };
    let of = |value| conf(value).unwrap().request(args.clone()).unwrap();
    assert_eq!(of(json!({})).ips, address("10.1.2.1"));
    let in_args = json!({"args": {"cni": {"ips": ["10.1.2.2/24"]}}});
    assert_eq!(of(in_args.clone()).ips, address("10.1.2.2"));
    let mut both = in_args;
    both["runtimeConfig"] = json!({"ips": ["10.1.2.3"], "mac": "02:00:00:00:00:03"});
    assert_eq!(of(both.clone()).ips, address("10.1.2.3"));
    assert_eq!(of(both).mac, Some(Mac([2, 0, 0, 0, 0, 3])));
}

#[test]
fn slips_in_our_keys_are_caught_and_foreign_keys_are_not() {
    for (slip, key) in [
        ("agentsocket", "agentSocket"),
        ("agent_socket", "agentSocket"),
        ("agentScoket", "agentSocket"),
        ("MTU", "mtu"),
        ("mut", "mtu"),
        ("IPAM", "ipam"),
        ("runtimeconfig", "runtimeConfig"),
    ] {
        let error = conf(json!({slip: 1})).unwrap().check_keys().unwrap_err().to_string();
        assert!(error.contains(slip) && error.contains(key), "{error}");
    }
    for foreign in
        ["ipMasq", "isGateway", "bridge", "cni.dev/valid-attachments", "plugins", "mac", "vlan", "sysctl", "log"]
    {
        assert!(conf(json!({foreign: 1})).unwrap().check_keys().is_ok(), "{foreign}");
    }
}

#[test]
fn a_chained_plugin_does_what_it_can_and_refuses_the_rest() {
    let value = json!({"runtimeConfig": {
        "portMappings": [{"hostPort": 80, "containerPort": 8080}], "bandwidth": {"egressRate": 9000},
    }});
    let service = conf(value).unwrap().chained().unwrap();
    assert_eq!((service.ports[0].container_port, service.bandwidth.egress.unwrap().rate), (8080, 9000));
    let none = json!({"runtimeConfig": {"portMappings": [], "bandwidth": {}}});
    assert_eq!(conf(none).unwrap().chained().unwrap(), Service::default());
    let mac = json!({"runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let error = conf(mac).unwrap().chained().unwrap_err();
    assert!(matches!(&error, ConfError::Unsupported { path, .. } if path == "runtimeConfig.mac"), "{error}");
    let ipam = json!({"ipam": {"type": "host-local"}});
    assert!(matches!(conf(ipam).unwrap().chained(), Err(ConfError::ChainedIpam)));
}

#[test]
fn an_empty_previous_result_is_none() {
    for value in [json!({"prevResult": null}), json!({"prevResult": {}})] {
        assert_eq!(conf(value).unwrap().prev_result().unwrap(), None);
    }
    let error = conf(json!({"prevResult": [1]})).unwrap().prev_result().unwrap_err();
    assert!(error.to_string().starts_with("prevResult"), "{error}");
}

#[test]
fn valid_attachments_must_be_listed() {
    let key = |id: &str| AttachmentKey { container_id: id.into(), ifname: "eth0".into() };
    let list = |id: &str| json!([{"containerID": id, "ifname": "eth0"}]);
    let valid = |value| conf(value).unwrap().valid_attachments();
    assert_eq!(valid(json!({"cni.dev/valid-attachments": list("a")})).unwrap(), [key("a")]);
    assert_eq!(valid(json!({"cni.dev/attachments": list("b")})).unwrap(), [key("b")]);
    assert_eq!(valid(json!({"cni.dev/valid-attachments": null})).unwrap(), []);
    assert!(valid(json!({})).unwrap_err().to_string().starts_with("cni.dev/valid-attachments"));
    let error = valid(json!({"cni.dev/valid-attachments": [{"ifname": "eth0"}]})).unwrap_err().to_string();
    assert!(error.starts_with("cni.dev/valid-attachments[0]"), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9a-f:./]{0,12}".prop_map(Value::from),
    ];
    let keys = "ips|mac|dns|ipRanges|portMappings|bandwidth|subnet|hostPort|servers|cni|type|[a-z]{1,4}";
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(keys, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_is_a_surprise(key in proptest::sample::select(&KNOWN_KEYS[..]), value in any_json()) {
        if let Ok(conf) = conf(json!({key: value})) {
            let _ = (conf.check_keys(), conf.request(Args::default()), conf.chained());
            let _ = (conf.prev_result(), conf.valid_attachments());
        }
    }
}
