//! The maps' content as people write it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};
use weft_abi::{
    Addr, Counter, Direction, Flow, FlowFlags, Fragment, HostPort, Limit, Nat, NodeState, Peer, PeerFlags, Pod,
    PodFlags, Ports, Prefix, Rate, Reason, SockPeer, TICK_SHIFT, Target, Tuple, Uplink,
};
use weft_cni::api::VerdictCount;
use weft_cni::mac::Mac;

/// Bits of a word, by name.
type Names = [(u32, &'static str)];

const POD_FLAGS: &Names = &[
    (PodFlags::ADOPTED, "adopted"),
    (PodFlags::VIA_STACK, "via-stack"),
    (PodFlags::PORTS, "ports"),
    (PodFlags::LIMIT_EGRESS, "limit-egress"),
    (PodFlags::LIMIT_INGRESS, "limit-ingress"),
];

const PEER_FLAGS: &Names = &[(PeerFlags::LOCAL, "local"), (PeerFlags::NODE, "node"), (PeerFlags::STACK, "stack")];

const FLOW_FLAGS: &Names = &[
    (FlowFlags::INBOUND, "inbound"),
    (FlowFlags::VIA_STACK, "via-stack"),
    (FlowFlags::TRANSLATED, "translated"),
    (FlowFlags::HOST, "host"),
    (FlowFlags::REPLIED, "replied"),
    (FlowFlags::FIN_INSIDE, "fin-inside"),
    (FlowFlags::FIN_OUTSIDE, "fin-outside"),
    (FlowFlags::RESET, "reset"),
    (FlowFlags::CONFIRMED, "confirmed"),
    (FlowFlags::PORT, "port"),
];

/// An entry of `pods`.
pub(super) fn pod(addr: Addr, pod: &Pod) -> Value {
    json!({
        "address": IpAddr::from(addr),
        "ifindex": pod.ifindex,
        "endpointId": pod.endpoint_id,
        "podMac": Mac(pod.pod_mac),
        "hostMac": Mac(pod.host_mac),
        "flags": flags(POD_FLAGS, pod.flags),
    })
}

/// An entry of `counters`, summed over the CPUs.
pub(super) fn counter(reason: Reason, direction: Direction, counter: Counter) -> VerdictCount {
    VerdictCount {
        reason: reason.name().to_owned(),
        direction: direction.name().to_owned(),
        drop: reason.is_drop(),
        packets: counter.packets,
        bytes: counter.bytes,
    }
}

/// An entry of `peers`.
pub(super) fn peer(prefix: Prefix, peer: &Peer) -> Value {
    json!({
        "range": range(prefix),
        "node": known(peer.node),
        "device": peer.device,
        "vni": peer.vni,
        "mtu": peer.mtu,
        "flags": flags(PEER_FLAGS, peer.flags),
    })
}

/// An entry of `masq_exempt`.
pub(super) fn exempt(prefix: Prefix) -> Value {
    json!({ "range": range(prefix) })
}

/// An entry of `uplinks`.
pub(super) fn uplink(ifindex: u32, uplink: &Uplink) -> Value {
    json!({ "ifindex": ifindex, "v4": known(uplink.v4), "v6": known(uplink.v6) })
}

/// An entry of `flows`.
pub(super) fn flow(key: &Tuple, flow: &Flow) -> Value {
    let mut value = tuple(key);
    value["seen"] = secs(flow.seen);
    value["created"] = secs(flow.created);
    value["flags"] = flags(FLOW_FLAGS, flow.flags).into();
    value["ifindex"] = flow.ifindex.into();
    value["natAddress"] = json!(known(flow.nat_addr));
    value["natPort"] = u16::from_be(flow.nat_port).into();
    value["epoch"] = flow.epoch.into();
    value
}

/// An entry of `nat`.
pub(super) fn nat(key: &Tuple, nat: &Nat) -> Value {
    let mut value = tuple(key);
    value["seen"] = secs(nat.seen);
    value["flags"] = flags(FLOW_FLAGS, nat.flags).into();
    value["to"] = json!(IpAddr::from(nat.inside));
    value["toPort"] = u16::from_be(nat.inside_port).into();
    value["endpointId"] = nat.endpoint_id.into();
    value
}

/// An entry of `ports`.
pub(super) fn port(key: &Target, port: &HostPort) -> Value {
    json!({
        "address": IpAddr::from(key.addr),
        "port": u16::from_be(key.port),
        "protocol": key.protocol,
        "to": IpAddr::from(port.pod),
        "toPort": u16::from_be(port.port),
        "endpointId": port.endpoint_id,
    })
}

/// An entry of `node_addrs`.
pub(super) fn node_addr(addr: Addr) -> Value {
    json!({ "address": IpAddr::from(addr) })
}

/// An entry of `nat_full`.
pub(super) fn target(target: &Target, flows: u64) -> Value {
    json!({
        "address": IpAddr::from(target.addr),
        "port": u16::from_be(target.port),
        "protocol": target.protocol,
        "flows": flows,
    })
}

/// An entry of `socks`.
pub(super) fn sock(peer: &SockPeer, asked: &Target) -> Value {
    json!({
        "cookie": peer.cookie,
        "pod": IpAddr::from(peer.addr),
        "podPort": u16::from_be(peer.port),
        "asked": IpAddr::from(asked.addr),
        "askedPort": u16::from_be(asked.port),
        "protocol": asked.protocol,
    })
}

/// An entry of `frags`.
pub(super) fn fragment(key: &Fragment, ports: Ports) -> Value {
    json!({
        "src": IpAddr::from(key.src),
        "dst": IpAddr::from(key.dst),
        "id": u32::from_be(key.id),
        "protocol": key.protocol,
        "srcPort": u16::from_be(ports.src),
        "dstPort": u16::from_be(ports.dst),
    })
}

/// An entry of `rates`.
pub(super) fn rate(endpoint: u32, rate: &Rate) -> Value {
    let limit = |limit: &Limit| {
        (limit.rate != 0).then(|| {
            json!({
                "bytesPerSecond": limit.rate,
                "burstNs": limit.credit_ns,
                "class": (limit.class != 0).then(|| format!("{:x}:{:x}", limit.class >> 16, limit.class & 0xffff)),
                "offered": { "packets": limit.offered_packets, "bytes": limit.offered_bytes },
                "sent": { "packets": limit.sent_packets, "bytes": limit.sent_bytes },
                "delayedPackets": limit.delayed_packets,
                "delayNs": limit.delay_ns,
                "markedPackets": limit.marked_packets,
                "droppedPackets": limit.dropped_packets,
            })
        })
    };
    json!({ "endpointId": endpoint, "egress": limit(&rate.egress), "ingress": limit(&rate.ingress) })
}

/// The entry of `node`.
pub(super) fn node(node: &NodeState) -> Value {
    let trace = (node.trace.enabled != 0).then(|| {
        json!({
            "addresses": node.trace.addrs.into_iter().filter_map(known).collect::<Vec<_>>(),
            "port": u16::from_be(node.trace.port),
            "protocol": node.trace.protocol,
        })
    });
    json!({
        "trace": trace,
        "hostFlows": node.host_flows != 0,
        "shaper": (node.shaper != 0).then_some([node.shaper, node.shaped]),
        "departureTimes": node.departure != 0,
    })
}

fn tuple(key: &Tuple) -> Value {
    json!({
        "inside": IpAddr::from(key.inside),
        "insidePort": u16::from_be(key.inside_port),
        "outside": IpAddr::from(key.outside),
        "outsidePort": u16::from_be(key.outside_port),
        "protocol": key.protocol,
    })
}

/// As people write it, or bits and address where no network is like that.
fn range(prefix: Prefix) -> String {
    let address = IpAddr::from(prefix.addr);
    let bits = if address.is_ipv4() { prefix.bits.checked_sub(96) } else { Some(prefix.bits) };
    let network = bits.and_then(|bits| IpNet::new(address, u8::try_from(bits).ok()?).ok());
    network.map_or_else(|| format!("{address} ({} bits)", prefix.bits), |network| network.to_string())
}

/// Seconds on the monotonic clock.
fn secs(tick: u32) -> Value {
    ((u64::from(tick) << TICK_SHIFT) / 1_000_000_000).into()
}

fn known(addr: Addr) -> Option<IpAddr> {
    (addr != Addr::default()).then(|| addr.into())
}

fn flags(names: &Names, bits: u32) -> Vec<String> {
    let known = names.iter().filter(|(flag, _)| bits & flag != 0).map(|(_, name)| (*name).to_owned());
    let unknown = names.iter().fold(bits, |bits, (flag, _)| bits & !flag);
    known.chain((unknown != 0).then(|| format!("{unknown:#x}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_written_as_people_do() {
        let addr = Addr::from(IpAddr::from([10, 244, 0, 7]));
        let value =
            Pod { ifindex: 9, flags: 0x205, endpoint_id: 3, pod_mac: [2, 0, 0, 0, 0, 1], host_mac: [2, 0, 0, 0, 0, 2] };
        assert_eq!(
            pod(addr, &value),
            json!({
                "address": "10.244.0.7", "ifindex": 9, "endpointId": 3, "podMac": "02:00:00:00:00:01",
                "hostMac": "02:00:00:00:00:02", "flags": ["adopted", "ports", "0x200"],
            })
        );
    }

    #[test]
    fn ranges_are_written_as_people_do() {
        let v4 = Prefix { bits: 120, addr: IpAddr::from([10, 244, 2, 0]).into() };
        assert_eq!(range(v4), "10.244.2.0/24");
        assert_eq!(range(Prefix { bits: 96, addr: IpAddr::from([0, 0, 0, 0]).into() }), "0.0.0.0/0");
        assert_eq!(range(Prefix { bits: 64, addr: "fd00:10::".parse::<IpAddr>().unwrap().into() }), "fd00:10::/64");
        assert_eq!(range(Prefix { bits: 0, addr: Addr::default() }), "::/0");
        assert_eq!(range(Prefix { bits: 200, addr: Addr::default() }), ":: (200 bits)");
    }

    #[test]
    fn a_flow_is_written_as_people_do() {
        let (pod, server) = (IpAddr::from([10, 244, 0, 7]), IpAddr::from([198, 51, 100, 7]));
        let key = Tuple::between(6, (pod.into(), 40000_u16.to_be()), (server.into(), 443_u16.to_be()));
        let value = Flow {
            seen: 100,
            created: 50,
            flags: FlowFlags::TRANSLATED | FlowFlags::FIN_INSIDE,
            ifindex: 2,
            nat_addr: IpAddr::from([192, 0, 2, 1]).into(),
            nat_port: 40001_u16.to_be(),
            ..Flow::default()
        };
        let written = flow(&key, &value);
        assert_eq!((&written["inside"], &written["insidePort"]), (&json!("10.244.0.7"), &json!(40000)));
        assert_eq!((&written["natAddress"], &written["natPort"]), (&json!("192.0.2.1"), &json!(40001)));
        assert_eq!((&written["flags"], &written["seen"]), (&json!(["translated", "fin-inside"]), &json!(107)));
        let back = nat(&key, &Nat { seen: 0, inside_port: 80_u16.to_be(), ..Nat::default() });
        assert_eq!((&back["toPort"], &back["seen"]), (&json!(80), &json!(0)));
    }
}
