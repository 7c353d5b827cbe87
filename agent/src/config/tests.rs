//! The configuration as a whole.

use std::io::Write;

use super::*;

fn run(args: &[&str]) -> Result<Config, ConfigError> {
    match parse(["weft-agent"].iter().chain(args).map(OsString::from))? {
        Command::Run(config) => Ok(*config),
        _ => unreachable!(),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn defaults_need_only_a_pod_range() {
    let config = run(&["--standalone", "--pod-cidr", "10.244.0.0/24", "--pod-cidr", "fd00:10::/64"]).unwrap();
    assert_eq!(config.run_dir, PathBuf::from("/run/weft"));
    assert_eq!(config.bpf_dir, PathBuf::from("/sys/fs/bpf/weft"));
    assert_eq!(config.pod_cidrs.len(), 2);
    assert!(config.expedite_rcu && config.listen.is_none() && !config.node_name.is_empty());
}

#[test]
fn flags_win_over_the_file() {
    let file = file("standalone = true\npod-cidr = ['10.1.0.0/24']\nmtu = 1400\nnode-name = 'from-file'\n");
    let path = file.path().to_str().unwrap();
    let config = run(&["--config", path, "--mtu", "1300", "--run-dir", "/tmp/x/"]).unwrap();
    assert_eq!((config.mtu, config.node_name.as_str()), (Some(1300), "from-file"));
    assert_eq!(config.run_dir, PathBuf::from("/tmp/x"));
    assert_eq!(config.run_dir.as_os_str(), "/tmp/x", "link groups hash the text");
    let off = run(&["--config", path, "--standalone=false"]).unwrap_err();
    assert!(off.to_string().contains("api-server"), "{off}");
}

#[test]
fn wrong_files_name_the_key() {
    for (text, parts) in [
        ("pod-cird = ['10.1.0.0/24']", ["pod-cird", "pod-cidr"]),
        ("standalone = true\nmtu = 'big'", ["mtu", "string"]),
        ("pod-cidr = 7", ["pod-cidr", "integer"]),
        ("standalone = yes", ["line 1", "toml"]),
        ("standalone = true\nmtu = -1", ["mtu", "-1"]),
        ("standalone = true\nvni = 'one'", ["vni", "string"]),
        ("timeout-tcp-opened = 7", ["timeout-tcp-opened", "timeout-tcp-opening"]),
    ] {
        let file = file(text);
        let error = run(&["--config", file.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.to_lowercase().contains(part)), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn wrong_values_name_field_and_remedy() {
    let base = ["--standalone", "--pod-cidr", "10.244.0.0/24"];
    for (more, parts) in [
        (vec!["--run-dir", "run"], ["run-dir", "absolute"]),
        (vec!["--bpf-dir", "/a/../b"], ["bpf-dir", ".."]),
        (vec!["--mtu", "60"], ["mtu", "68"]),
        (vec!["--pod-cidr", "fd00::/64", "--mtu", "1000"], ["mtu", "1280"]),
        (vec!["--attach", "xdp"], ["attach", "clsact"]),
        (vec!["--log-level", "loud"], ["log-level", "debug"]),
        (vec!["--listen", "9090"], ["listen", "127.0.0.1:"]),
        (vec!["--node-name", "a b"], ["node-name", "white space"]),
        (vec!["--cgroup", "/proc"], ["cgroup", "cgroup2"]),
        (vec!["--pod-cidr", "10.244.0.128/25"], ["10.244.0.0/24", "10.244.0.128/25"]),
        (vec!["--peers", "peers.toml"], ["peers", "absolute"]),
        (vec!["--routing", "bgp"], ["routing", "native"]),
        (vec!["--overlay-port", "0"], ["overlay-port", "65535"]),
        (vec!["--overlay-port", "70000"], ["overlay-port", "65535"]),
        (vec!["--vni", "0"], ["vni", "16777215"]),
        (vec!["--vni", "16777216"], ["vni", "16777215"]),
        (vec!["--devices", "eth0,et*h"], ["devices", "et*h"]),
        (vec!["--devices", "lo"], ["devices", "lo"]),
        (vec!["--devices", "a-name-too-long0"], ["devices", "15"]),
        (vec!["--node-ip", "127.0.0.1"], ["node-ip", "127.0.0.1"]),
        (vec!["--node-ip", "192.0.2.1,192.0.2.2"], ["192.0.2.1", "192.0.2.2"]),
        (vec!["--masq-exempt", "10.0.0.1/8"], ["masq-exempt", "10.0.0.0/8"]),
        (vec!["--masq-exempt", "10.0.0.0"], ["masq-exempt", "10.0.0.0/8"]),
        (vec!["--flow-table-size", "1000"], ["flow-table-size", "1024"]),
        (vec!["--timeout-udp-single", "0"], ["timeout-udp-single", "1"]),
    ] {
        let args: Vec<_> = base.iter().copied().chain(more.iter().copied()).collect();
        let error = run(&args).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{more:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(run(&["--standalone"]).unwrap_err().to_string().contains("pod-cidr"));
    assert!(run(&[]).unwrap_err().to_string().contains("standalone = true"));
    assert!(run(&["--api-server", "here"]).unwrap_err().to_string().contains("\"here\""));
    let long = format!("/{}", "x".repeat(100));
    assert!(run(&["--standalone", "--run-dir", &long]).unwrap_err().to_string().contains("run-dir"));
}

#[test]
fn the_network_has_defaults() {
    let config = run(&["--standalone", "--pod-cidr", "10.244.0.0/24"]).unwrap();
    let NetworkConfig { peers, overlay, devices, node_ip, masquerade, masq_exempt, .. } = config.network;
    assert_eq!((peers, overlay), (None, Some(Overlay { port: 8472, vni: 1 })));
    assert!(devices.is_empty() && node_ip.is_empty() && masq_exempt.is_empty() && masquerade);
    assert_eq!(config.timeouts, Timeouts::default());
}

#[test]
fn the_network_comes_from_the_file_too() {
    let file = file(
        "standalone = true\npod-cidr = ['10.1.0.0/24']\npeers = '/etc/weft/peers.toml'\nrouting = 'native'\n\
         devices = ['eth0', 'bond*']\nnode-ip = ['192.0.2.1', '2001:db8::1']\nmasquerade = false\n\
         masq-exempt = ['10.0.0.0/8', '10.1.0.0/16']\ntimeout-icmp = 5\nflow-table-size = 2048\n",
    );
    let config = run(&["--config", file.path().to_str().unwrap(), "--mtu", "1400"]).unwrap();
    let network = config.network;
    assert_eq!(network.peers, Some(PathBuf::from("/etc/weft/peers.toml")));
    assert_eq!((network.overlay, network.masquerade), (None, false));
    assert_eq!(network.devices, ["eth0", "bond*"]);
    assert_eq!((network.node_ip.len(), network.masq_exempt.len()), (2, 2));
    assert_eq!((config.timeouts.icmp.as_secs(), network.flow_table_size), (5, 2048));
}

#[test]
fn a_cluster_names_the_ranges() {
    let account = ["--service-account", "/etc/weft/account"];
    let config = run(&[&["--api-server", "192.0.2.1:6443"][..], &account].concat()).unwrap();
    let kubernetes = config.kubernetes.unwrap();
    assert_eq!(kubernetes.api_server.to_string(), "https://192.0.2.1:6443/");
    assert_eq!(kubernetes.service_account, PathBuf::from("/etc/weft/account"));
    assert!(config.pod_cidrs.is_empty());
    assert_eq!(run(&["--standalone", "--pod-cidr", "10.1.0.0/24"]).unwrap().kubernetes, None);
}

#[test]
fn cleanup_takes_the_same_directories() {
    let args = ["weft-agent", "cleanup", "--run-dir", "/tmp/r", "--bpf-dir", "/tmp/b", "--force"];
    let Command::Cleanup(cleanup) = parse(args.map(OsString::from)).unwrap() else { unreachable!() };
    assert!(cleanup.force && cleanup.run_dir.as_os_str() == "/tmp/r");
    assert_eq!(cleanup.bpf_dir, PathBuf::from("/tmp/b"));
}
