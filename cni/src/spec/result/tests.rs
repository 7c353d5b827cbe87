//! Results survive the way through every version that has a place for them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<u32>().prop_map(|v4| IpAddr::V4(v4.into())), any::<u128>().prop_map(|v6| IpAddr::V6(v6.into()))]
}

fn net() -> impl Strategy<Value = IpNet> {
    (address(), 0_u8..=32).prop_map(|(address, len)| IpNet::new(address, len).unwrap())
}

prop_compose! {
    fn interface()(
        name in "[a-z0-9]{1,15}", mac in "([0-9a-f]{2}:){5}[0-9a-f]{2}|", mtu: Option<u32>, sandbox in "(/[a-z]{1,9})*",
        socket_path: Option<String>, pci_id: Option<String>,
    ) -> Interface {
        Interface { name, mac, mtu, sandbox, socket_path, pci_id }
    }
}

prop_compose! {
    fn ip()(interface: Option<u8>, address in net(), gateway in option::of(address())) -> IpConfig {
        IpConfig { version: None, interface: interface.map(usize::from), address, gateway }
    }
}

prop_compose! {
    fn route()(
        dst in net(), gw in option::of(address()), mtu: Option<u32>, advmss: Option<u32>, priority: Option<u32>,
        table: Option<u32>, scope: Option<u8>,
    ) -> Route {
        Route { dst, gw, mtu, advmss, priority, table, scope }
    }
}

prop_compose! {
    fn dns()(
        nameservers in vec(address(), 0..3), domain in "[a-z.]{0,9}", search in vec("[a-z.]{1,9}", 0..3),
        options in vec("[a-z]{1,9}", 0..3),
    ) -> Dns {
        Dns { nameservers, domain, search, options }
    }
}

prop_compose! {
    fn result()(
        interfaces in vec(interface(), 0..4), ips in vec(ip(), 0..4), routes in vec(route(), 0..4), dns in dns(),
    ) -> AddResult {
        AddResult { interfaces, ips, routes, dns }
    }
}

fn through(result: &AddResult, version: Version) -> AddResult {
    AddResult::decode(result.clone().encode(version).unwrap(), Version::V0_3_0).unwrap().0
}

proptest! {
    #[test]
    fn the_newest_version_keeps_everything(result in result()) {
        prop_assert_eq!(through(&result, Version::V1_1_0), result);
    }

    #[test]
    fn each_version_loses_only_what_it_has_no_place_for(result in result()) {
        let mut expected = result.clone();
        for interface in &mut expected.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
        }
        for route in &mut expected.routes {
            *route = Route { gw: route.gw, ..Route::to(route.dst) };
        }
        for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0] {
            prop_assert_eq!(through(&result, version), expected.clone());
        }
    }

    #[test]
    fn a_second_way_through_the_oldest_changes_nothing(result in result()) {
        let old = through(&result, Version::V0_2_0);
        prop_assert!(old.interfaces.is_empty() && old.ips.len() <= 2);
        prop_assert_eq!(&through(&old, Version::V0_1_0), &old);
        let families = |result: &AddResult, v4| result.ips.iter().any(|ip| ip.address.addr().is_ipv4() == v4);
        for v4 in [true, false] {
            prop_assert_eq!(families(&old, v4), families(&result, v4));
        }
        prop_assert_eq!(old.dns, result.dns);
    }
}

fn sample() -> AddResult {
    let interface = |name: &str, sandbox: &str| Interface {
        name: name.into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: Some(1500),
        sandbox: sandbox.into(),
        ..Interface::default()
    };
    let ip = |address: &str, gateway: &str| IpConfig {
        version: None,
        interface: Some(1),
        address: address.parse().unwrap(),
        gateway: gateway.parse().ok(),
    };
    AddResult {
        interfaces: vec![interface("weft0", ""), interface("eth0", "/run/netns/a")],
        ips: vec![ip("10.1.0.5/32", "169.254.1.1"), ip("fd00::5/128", "fe80::1")],
        routes: vec![Route { gw: "169.254.1.1".parse().ok(), ..Route::to("0.0.0.0/0".parse().unwrap()) }],
        dns: Dns { nameservers: vec!["10.0.0.53".parse().unwrap()], ..Dns::default() },
    }
}

#[test]
fn the_newest_shape_is_the_specifications() {
    assert_eq!(
        sample().encode(Version::V1_1_0).unwrap(),
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "weft0", "mac": "02:00:00:00:00:01", "mtu": 1500},
                {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1500, "sandbox": "/run/netns/a"},
            ],
            "ips": [
                {"address": "10.1.0.5/32", "gateway": "169.254.1.1", "interface": 1},
                {"address": "fd00::5/128", "gateway": "fe80::1", "interface": 1},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
            "dns": {"nameservers": ["10.0.0.53"]},
        })
    );
}

#[test]
fn families_are_numbered_from_0_3_to_0_4_only() {
    for version in Version::ALL.into_iter().filter(|version| *version >= Version::V0_3_0) {
        let value = sample().encode(version).unwrap();
        let numbered = (Version::V0_3_0..=Version::V0_4_0).contains(&version);
        assert_eq!(value["ips"][1].get("version"), numbered.then_some(&json!("6")), "{version}");
        assert_eq!(value["interfaces"][0].get("mtu").is_some(), version == Version::V1_1_0, "{version}");
        assert_eq!(value["cniVersion"], version.as_str());
    }
}

#[test]
fn the_oldest_shape_has_one_address_of_each_family() {
    for version in [Version::V0_1_0, Version::V0_2_0] {
        assert_eq!(
            sample().encode(version).unwrap(),
            json!({
                "cniVersion": version.as_str(),
                "ip4": {
                    "ip": "10.1.0.5/32",
                    "gateway": "169.254.1.1",
                    "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
                },
                "ip6": {"ip": "fd00::5/128", "gateway": "fe80::1"},
                "dns": {"nameservers": ["10.0.0.53"]},
            })
        );
    }
}

#[test]
fn an_error_names_the_field() {
    for (value, path) in [
        (json!({"ips": [{"address": "10.1.0.5"}]}), "ips[0].address"),
        (json!({"interfaces": [{"name": 1}]}), "interfaces[0].name"),
        (json!({"routes": [{"dst": "0.0.0.0/0", "gw": "x"}]}), "routes[0].gw"),
        (json!({"dns": {"nameservers": ["ns.example"]}}), "dns.nameservers[0]"),
    ] {
        let error = AddResult::decode(value, Version::V1_1_0).unwrap_err().to_string();
        assert!(error.starts_with(path), "{error}");
    }
    let error = AddResult::decode(json!({"ip4": {}}), Version::V0_2_0).unwrap_err().to_string();
    assert!(error.starts_with("ip4"), "{error}");
}

#[test]
fn null_and_empty_mean_nothing() {
    let value =
        json!({"interfaces": null, "ips": [{"address": "10.1.0.5/24", "gateway": ""}], "routes": null, "dns": {}});
    let (result, _) = AddResult::decode(value, Version::V0_4_0).unwrap();
    assert_eq!(result.ips[0].gateway, None);
    assert!(result.interfaces.is_empty() && result.dns.is_empty());
}
