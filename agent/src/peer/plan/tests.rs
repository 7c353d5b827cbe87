//! What the kernel is to have.

use super::*;
use crate::config::Overlay;
use crate::node::Uplink;

const DEVICE: u32 = 9;
const TUNNEL: Tunnel = Tunnel { device: DEVICE, vni: 5, mtu: 1450 };

fn config(overlay: bool) -> NetworkConfig {
    NetworkConfig {
        peers: None,
        overlay: overlay.then_some(Overlay { port: 8472, vni: 5 }),
        devices: Vec::new(),
        node_ip: Vec::new(),
        masquerade: true,
        masq_exempt: vec!["10.0.0.0/8".parse().unwrap()],
        direct_node_routes: true,
        host_routing: true,
        flow_table_size: 1024,
    }
}

fn uplinks(v4: bool, v6: bool) -> Uplinks {
    let uplink = |index, mtu| Uplink {
        name: format!("eth{index}"),
        index,
        mtu,
        up: true,
        v4: v4.then_some([192, 0, 2, 1].into()),
        v6: v6.then_some("2001:db8::1".parse().unwrap()),
    };
    Uplinks { all: vec![uplink(2, 9000), uplink(3, 1500)], warnings: Vec::new() }
}

fn peer(name: &str, addresses: &[&str], ranges: &[&str]) -> Peer {
    Peer {
        name: name.into(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        pod_cidrs: ranges.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn both() -> PeerSet {
    let n2 = peer("n2", &["192.0.2.12", "2001:db8::12"], &["10.244.2.0/24", "fd00:2::/64"]);
    let n3 = peer("n3", &["2001:db8::13"], &["10.244.3.0/24"]);
    PeerSet { peers: vec![n2, n3], own_addresses: Vec::new() }
}

struct Site {
    config: NetworkConfig,
    uplinks: Uplinks,
    towards: HashMap<IpAddr, Towards>,
    overlay: Option<Tunnel>,
    node_ip: Vec<IpAddr>,
    stack: Vec<IpNet>,
}

impl Site {
    fn overlay() -> Self {
        Self {
            config: config(true),
            uplinks: uplinks(true, true),
            towards: HashMap::new(),
            overlay: Some(TUNNEL),
            node_ip: Vec::new(),
            stack: Vec::new(),
        }
    }

    fn native() -> Self {
        Self { config: config(false), overlay: None, ..Self::overlay() }
    }

    fn plan(&self, set: &PeerSet) -> Plan {
        let own_ranges = ["10.244.1.0/24".parse().unwrap()];
        let facts = Facts {
            config: &self.config,
            own_ranges: &own_ranges,
            node_ip: &self.node_ip,
            gateways: &["10.244.1.1".parse().unwrap()],
            uplinks: &self.uplinks,
            towards: &self.towards,
            overlay: self.overlay,
            stack: &self.stack,
        };
        plan(set, &facts)
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_overlay_leads_to_every_range() {
    let made = Site::overlay().plan(&both());
    let tunnel = Some(TUNNEL);
    let home = |address| Home::Node { address: ip(address), tunnel };
    let expected = [
        ("10.244.1.0/24", Home::Local),
        ("10.244.2.0/24", home("192.0.2.12")),
        ("fd00:2::/64", home("192.0.2.12")),
        ("10.244.3.0/24", home("2001:db8::13")),
    ];
    assert_eq!(made.ranges, expected.map(|(range, home)| PeerRange { range: net(range), home }));
    // The node has no IPv6 pods, so its stack has nothing to say to the others' either.
    let (n2, n3) = (made.routes[&net("10.244.2.0/24")], made.routes[&net("10.244.3.0/24")]);
    let route = |node| PeerRoute::Tunnel {
        device: DEVICE,
        vni: 5,
        node: ip(node),
        local: None,
        source: Some(ip("10.244.1.1")),
    };
    assert_eq!((made.routes.len(), n2, n3), (2, route("192.0.2.12"), route("2001:db8::13")));
    assert_eq!(made.ways[0], (PeerWay::Overlay, Some(ip("192.0.2.12"))));
    assert!(made.problems.is_empty());
}

#[test]
fn services_lead_to_the_stack_and_pods_stay_pods() {
    let stack = ["10.96.0.1/32", "fd00:96::1/128", "10.244.2.9/32", "10.244.1.9/32", "192.0.2.12/32", "0.0.0.0/0"];
    let node = Site { stack: stack.map(net).to_vec(), ..Site::overlay() };
    let made = node.plan(&both()).ranges;
    let made: Vec<_> = made.iter().filter(|range| range.home == Home::Stack).map(|range| range.range).collect();
    assert_eq!(made, ["10.96.0.1/32", "fd00:96::1/128", "192.0.2.12/32", "0.0.0.0/0"].map(net));
}

#[test]
fn what_others_know_of_this_node_counts() {
    let mut node = Site { node_ip: vec![ip("192.0.2.1")], ..Site::overlay() };
    let made = node.plan(&both());
    let local = match made.routes[&net("10.244.2.0/24")] {
        PeerRoute::Tunnel { local, .. } => local,
        _ => None,
    };
    assert_eq!(local, Some(ip("192.0.2.1")));
    assert_eq!(made.ways[1].0, PeerWay::Unreachable, "n3 does not know this node's IPv6 address");
    node.node_ip = vec![ip("2001:db8::1")];
    assert_eq!(node.plan(&both()).ways[0], (PeerWay::Overlay, Some(ip("2001:db8::12"))));
}

#[test]
fn a_peer_without_a_common_family_is_told() {
    let node = Site { uplinks: uplinks(true, false), ..Site::overlay() };
    let made = node.plan(&both());
    assert_eq!(made.ways[1], (PeerWay::Unreachable, None));
    assert_eq!((made.ranges.len(), made.routes.len()), (3, 1));
    assert!(made.problems[0].contains("n3"), "{:?}", made.problems);
    let many: Vec<_> = (0..9).map(|at| peer(&format!("p{at}"), &["2001:db8::9"], &[])).collect();
    let made = node.plan(&PeerSet { peers: many, own_addresses: Vec::new() });
    assert!(made.problems[0].contains("p0, p1, p2 and 6 more"), "{:?}", made.problems);
}

#[test]
fn native_routing_leads_directly_where_it_can() {
    let mut node = Site::native();
    node.towards.insert(ip("192.0.2.12"), Towards { device: 2, direct: true });
    node.towards.insert(ip("2001:db8::12"), Towards { device: 2, direct: false });
    node.towards.insert(ip("2001:db8::13"), Towards { device: 3, direct: true });
    let made = node.plan(&both());
    let gateway = PeerRoute::Gateway { device: 2, node: ip("192.0.2.12") };
    assert_eq!(made.routes, PeerRoutes::from([(net("10.244.2.0/24"), gateway)]));
    let ways: Vec<_> = made.ways.iter().map(|(way, _)| *way).collect();
    assert_eq!(ways, [PeerWay::Direct, PeerWay::Network], "n3 has no address of its range's family");
    assert!(made.ranges[1..].iter().all(|range| matches!(range.home, Home::Node { tunnel: None, .. })));
    node.config.direct_node_routes = false;
    assert!(node.plan(&both()).routes.is_empty());
    node.config.direct_node_routes = true;
    node.towards.insert(ip("192.0.2.12"), Towards { device: 77, direct: true });
    assert!(node.plan(&both()).routes.is_empty(), "no uplink");
}

#[test]
fn all_pods_and_what_is_configured_are_exempt() {
    let mut node = Site::overlay();
    let exempt = node.plan(&both()).exempt;
    for range in ["10.0.0.0/8", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24", "fd00:2::/64"] {
        assert!(exempt.contains(&net(range)), "{range}: {exempt:?}");
    }
    node.config.masquerade = false;
    assert_eq!(node.plan(&both()).exempt, [net("0.0.0.0/0"), net("::/0")]);
}

#[test]
fn pods_get_what_the_smallest_uplink_leaves() {
    let (both, over_v4) = (both(), &both().peers[..1]);
    for (overlay, uplinks, peers, mtu) in [
        (false, uplinks(true, true), &both.peers[..], 1500),
        (true, uplinks(true, true), over_v4, 1450),
        (true, uplinks(true, true), &both.peers, 1430),
        (true, uplinks(false, true), over_v4, 1430),
        (true, uplinks(true, false), &[], 1450),
        (true, Uplinks::default(), &[], 1450),
    ] {
        assert_eq!(pod_mtu(overlay, &[], &uplinks, peers), mtu);
    }
    assert_eq!(pod_mtu(true, &[ip("2001:db8::1")], &uplinks(true, true), over_v4), 1430);
}
