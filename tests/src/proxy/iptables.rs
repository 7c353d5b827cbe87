//! The mode `iptables`: `syncProxyRules` of `pkg/proxy/iptables/proxier.go`, Kubernetes 1.33.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Endpoint, MASQUERADE, Service, Site};
use crate::node::Family;

/// `-m recent` remembers a client for three hours.
const AFFINITY: u32 = 10_800;

/// Input of `iptables-restore` that replaces both tables.
pub(super) fn rules(family: Family, site: Site, services: &[Service]) -> String {
    let (mut filter, mut nat) = (Table::default(), Table::default());
    filter.base(family);
    nat.masquerading();
    for service in services {
        nat.service(site, service);
        if service.local && !service.endpoints.iter().any(|endpoint| endpoint.local) {
            filter.without_local_endpoints(service);
        }
    }
    nat.rule("KUBE-SERVICES", "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS");
    format!("{}{}", filter.show("filter"), nat.show("nat"))
}

#[derive(Default)]
struct Table {
    chains: String,
    rules: String,
}

impl Table {
    fn chain(&mut self, name: &str) {
        // A string never fails to grow.
        let _ = writeln!(self.chains, ":{name} - [0:0]");
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        let _ = writeln!(self.rules, "-A {chain} {rule}");
    }

    fn show(&self, name: &str) -> String {
        format!("*{name}\n{}{}COMMIT\n", self.chains, self.rules)
    }

    fn base(&mut self, family: Family) {
        for chain in [
            "KUBE-NODEPORTS",
            "KUBE-SERVICES",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-FIREWALL",
            "KUBE-PROXY-FIREWALL",
        ] {
            self.chain(chain);
        }
        for (chain, rule) in [
            ("INPUT", "-m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"),
            ("INPUT", "-j KUBE-NODEPORTS"),
            ("INPUT", "-m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"),
            ("INPUT", "-j KUBE-FIREWALL"),
            ("FORWARD", "-m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"),
            ("FORWARD", "-j KUBE-FORWARD"),
            ("FORWARD", "-m conntrack --ctstate NEW -j KUBE-SERVICES"),
            ("FORWARD", "-m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"),
            ("OUTPUT", "-m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"),
            ("OUTPUT", "-m conntrack --ctstate NEW -j KUBE-SERVICES"),
            ("OUTPUT", "-j KUBE-FIREWALL"),
            ("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP"),
            ("KUBE-FORWARD", "-m mark --mark 0x4000/0x4000 -j ACCEPT"),
            ("KUBE-FORWARD", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ] {
            self.rule(chain, rule);
        }
        if family == Family::V4 {
            let rule = "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP";
            self.rule("KUBE-FIREWALL", rule);
        }
    }

    fn without_local_endpoints(&mut self, service: &Service) {
        for address in &service.outer {
            self.rule("KUBE-EXTERNAL-SERVICES", &format!("{} -j DROP", to(service, *address)));
        }
        let Some(port) = service.node_port else { return };
        let protocol = service.protocol;
        let rule = format!("-p {protocol} -m addrtype --dst-type LOCAL -m {protocol} --dport {port} -j DROP");
        self.rule("KUBE-EXTERNAL-SERVICES", &rule);
    }

    fn masquerading(&mut self) {
        for chain in ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"] {
            self.chain(chain);
        }
        self.rule("PREROUTING", "-j KUBE-SERVICES");
        self.rule("OUTPUT", "-j KUBE-SERVICES");
        self.rule("POSTROUTING", "-j KUBE-POSTROUTING");
        self.rule("KUBE-MARK-MASQ", &format!("-j MARK --or-mark {MASQUERADE}"));
        self.rule("KUBE-POSTROUTING", &format!("-m mark ! --mark {MASQUERADE}/{MASQUERADE} -j RETURN"));
        self.rule("KUBE-POSTROUTING", &format!("-j MARK --xor-mark {MASQUERADE}"));
        self.rule("KUBE-POSTROUTING", "-j MASQUERADE --random-fully");
    }

    fn service(&mut self, site: Site, service: &Service) {
        let (name, protocol, pods) = (&service.name, service.protocol, site.pods);
        let [inside, outside, own] = ["SVC", "EXT", "SVL"].map(|kind| format!("KUBE-{kind}-{name}"));
        let cluster = to(service, service.cluster.ip());
        self.chain(&inside);
        self.rule("KUBE-SERVICES", &format!("{cluster} -j {inside}"));
        self.rule(&inside, &format!("! -s {pods} {cluster} -j KUBE-MARK-MASQ"));
        let numbered = || service.endpoints.iter().enumerate();
        for (number, endpoint) in numbered() {
            self.endpoint(service, number, endpoint);
        }
        self.choose(service, &inside, &numbered().map(|(number, _)| number).collect::<Vec<_>>());
        self.chain(&outside);
        for address in &service.outer {
            self.rule("KUBE-SERVICES", &format!("{} -j {outside}", to(service, *address)));
        }
        if let Some(port) = service.node_port {
            self.rule("KUBE-NODEPORTS", &format!("-p {protocol} -m {protocol} --dport {port} -j {outside}"));
        }
        if service.local {
            self.rule(&outside, &format!("-s {pods} -j {inside}"));
            self.rule(&outside, "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ");
            self.rule(&outside, &format!("-m addrtype --src-type LOCAL -j {inside}"));
            self.chain(&own);
            self.rule(&outside, &format!("-j {own}"));
            let local: Vec<_> = numbered().filter(|(_, endpoint)| endpoint.local).map(|(number, _)| number).collect();
            self.choose(service, &own, &local);
        } else {
            self.rule(&outside, "-j KUBE-MARK-MASQ");
            self.rule(&outside, &format!("-j {inside}"));
        }
    }

    fn choose(&mut self, service: &Service, chain: &str, endpoints: &[usize]) {
        if service.affinity {
            for number in endpoints {
                let name = endpoint_chain(service, *number);
                let known = format!("-m recent --name {name} --rcheck --seconds {AFFINITY} --reap --rsource -j {name}");
                self.rule(chain, &known);
            }
        }
        for (at, number) in endpoints.iter().enumerate() {
            let name = endpoint_chain(service, *number);
            let left = endpoints.len() - at;
            if left == 1 {
                self.rule(chain, &format!("-j {name}"));
            } else {
                #[expect(clippy::cast_precision_loss, reason = "a handful of endpoints")]
                let chance = 1.0 / left as f64;
                self.rule(chain, &format!("-m statistic --mode random --probability {chance:.10} -j {name}"));
            }
        }
    }

    fn endpoint(&mut self, service: &Service, number: usize, endpoint: &Endpoint) {
        let (name, protocol) = (endpoint_chain(service, number), service.protocol);
        self.chain(&name);
        self.rule(&name, &format!("-s {} -j KUBE-MARK-MASQ", host(endpoint.address.ip())));
        let remember =
            if service.affinity { format!("-m recent --name {name} --set --rsource ") } else { String::new() };
        let to = endpoint.address;
        self.rule(&name, &format!("{remember}-p {protocol} -m {protocol} -j DNAT --to-destination {to}"));
    }
}

fn endpoint_chain(service: &Service, number: usize) -> String {
    format!("KUBE-SEP-{}{number}", service.name)
}

/// Packets to the service's port of that address.
fn to(service: &Service, address: IpAddr) -> String {
    let (protocol, port) = (service.protocol, service.cluster.port());
    format!("-d {} -p {protocol} -m {protocol} --dport {port}", host(address))
}

fn host(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
