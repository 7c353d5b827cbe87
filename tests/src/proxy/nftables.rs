//! The mode `nftables`: `syncProxyRules` of `pkg/proxy/nftables/proxier.go`, Kubernetes 1.33.

use std::fmt::Write as _;

use super::{MASQUERADE, Service, Site};
use crate::node::Family;

/// Input of `nft -f` that replaces the table of the family.
pub(super) fn rules(family: Family, site: Site, services: &[Service]) -> String {
    let (ip, kind, range) = match family {
        Family::V4 => ("ip", "ipv4_addr", "10.96.0.0/12"),
        Family::V6 => ("ip6", "ipv6_addr", "fd00:10:96::/112"),
    };
    let (mut sets, mut chains) = (String::new(), String::new());
    let (mut by_address, mut by_port, mut cluster) = (Vec::new(), Vec::new(), Vec::new());
    let (mut closed, mut closed_ports) = (Vec::new(), Vec::new());
    for service in services {
        let (name, protocol, port) = (&service.name, service.protocol, service.cluster.port());
        cluster.push(service.cluster.ip().to_string());
        by_address.push(format!("{} . {protocol} . {port} : goto service-{name}", service.cluster.ip()));
        let is_closed = service.local && !service.endpoints.iter().any(|endpoint| endpoint.local);
        for address in &service.outer {
            by_address.push(format!("{address} . {protocol} . {port} : goto external-{name}"));
            closed.extend(is_closed.then(|| format!("{address} . {protocol} . {port} : drop")));
        }
        if let Some(port) = service.node_port {
            by_port.push(format!("{protocol} . {port} : goto external-{name}"));
            closed_ports.extend(is_closed.then(|| format!("{protocol} . {port} : drop")));
        }
        write_chains(&mut sets, &mut chains, (ip, kind), site, service);
    }
    let node = site.node;
    let map = |name: &str, key: &str, elements: &[String]| {
        let elements =
            if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}\n", elements.join(", ")) };
        format!("{name} {{\ntype {key}\n{elements}}}\n")
    };
    let service_key = format!("{kind} . inet_proto . inet_service : verdict");
    let port_key = "inet_proto . inet_service : verdict";
    format!(
        "table {ip} kube-proxy\ndelete table {ip} kube-proxy\ntable {ip} kube-proxy {{\n\
         {}{}{}{}{}{}{sets}\
         chain mark-for-masquerade {{\nmark set mark or {MASQUERADE}\n}}\n\
         chain masquerading {{\nmark and {MASQUERADE} == 0 return\nmark set mark xor {MASQUERADE}\nmasquerade fully-random\n}}\n\
         {chains}\
         chain services {{\n\
         {ip} daddr . meta l4proto . th dport vmap @service-ips\n\
         {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports\n}}\n\
         chain service-endpoints-check {{\n{ip} daddr . meta l4proto . th dport vmap @no-endpoint-services\n}}\n\
         chain nodeport-endpoints-check {{\n\
         {ip} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports\n}}\n\
         chain cluster-ips-check {{\n{ip} daddr @cluster-ips reject\n{ip} daddr {{ {range} }} drop\n}}\n\
         chain filter-input {{\ntype filter hook input priority -110\n\
         ct state new jump nodeport-endpoints-check\nct state new jump service-endpoints-check\n}}\n\
         chain filter-forward {{\ntype filter hook forward priority -110\n\
         ct state new jump service-endpoints-check\nct state new jump cluster-ips-check\n}}\n\
         chain filter-output {{\ntype filter hook output priority -110\nct state new jump service-endpoints-check\n}}\n\
         chain filter-output-post-dnat {{\ntype filter hook output priority -90\nct state new jump cluster-ips-check\n}}\n\
         chain nat-prerouting {{\ntype nat hook prerouting priority dstnat\njump services\n}}\n\
         chain nat-output {{\ntype nat hook output priority -100\njump services\n}}\n\
         chain nat-postrouting {{\ntype nat hook postrouting priority srcnat\njump masquerading\n}}\n\
         }}\n",
        map("set cluster-ips", kind, &cluster),
        map("set nodeport-ips", kind, &[node.to_string()]),
        map("map no-endpoint-services", &service_key, &closed),
        map("map no-endpoint-nodeports", port_key, &closed_ports),
        map("map service-ips", &service_key, &by_address),
        map("map service-nodeports", port_key, &by_port),
    )
}

/// The chains of one service, and its sets of clients that are remembered.
fn write_chains(sets: &mut String, chains: &mut String, (ip, kind): (&str, &str), site: Site, service: &Service) {
    let (name, protocol, pods) = (&service.name, service.protocol, site.pods);
    let endpoints = || service.endpoints.iter().enumerate();
    // A string never fails to grow.
    for (number, endpoint) in endpoints() {
        let mut remember = String::new();
        if service.affinity {
            let _ =
                writeln!(sets, "set affinity-{name}-{number} {{\ntype {kind}\nflags dynamic,timeout\ntimeout 3h\n}}");
            remember = format!("update @affinity-{name}-{number} {{ {ip} saddr }}\n");
        }
        let (address, to) = (endpoint.address.ip(), endpoint.address);
        let _ = writeln!(
            chains,
            "chain endpoint-{name}-{number} {{\n{ip} saddr {address} jump mark-for-masquerade\n{remember}\
             meta l4proto {protocol} dnat to {to}\n}}"
        );
    }
    let choose = |numbers: &[usize]| {
        let mut rules = String::new();
        if service.affinity {
            for number in numbers {
                let _ = writeln!(rules, "{ip} saddr @affinity-{name}-{number} goto endpoint-{name}-{number}");
            }
        }
        let ways: Vec<_> =
            numbers.iter().enumerate().map(|(at, number)| format!("{at} : goto endpoint-{name}-{number}")).collect();
        if !ways.is_empty() {
            let _ = writeln!(rules, "numgen random mod {} vmap {{ {} }}", ways.len(), ways.join(", "));
        }
        rules
    };
    let (address, port) = (service.cluster.ip(), service.cluster.port());
    let all: Vec<_> = endpoints().map(|(number, _)| number).collect();
    let _ = writeln!(
        chains,
        "chain service-{name} {{\n\
         {ip} daddr {address} {protocol} dport {port} {ip} saddr != {pods} jump mark-for-masquerade\n{}}}",
        choose(&all)
    );
    let body = if service.local {
        let own: Vec<_> = endpoints().filter(|(_, endpoint)| endpoint.local).map(|(number, _)| number).collect();
        format!(
            "{ip} saddr {pods} goto service-{name}\nfib saddr type local jump mark-for-masquerade\n\
             fib saddr type local goto service-{name}\n{}",
            choose(&own)
        )
    } else {
        format!("jump mark-for-masquerade\ngoto service-{name}\n")
    };
    let _ = writeln!(chains, "chain external-{name} {{\n{body}}}");
}
