//! Services: the addresses that the node's stack translates.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::runtime::reflector::Store;
use serde::Deserialize;
use tokio::sync::watch;

use crate::peer::Services;

use super::objects::{Audience, Meta, Names, Object, Used};
use super::replace;
use super::view::{Topic, View};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSpec {
    r#type: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawStatus {
    #[serde(default)]
    load_balancer: RawBalancer,
}

#[derive(Debug, Default, Deserialize)]
struct RawBalancer {
    ingress: Option<Vec<RawIngress>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIngress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

/// A service's addresses.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Addresses(Box<[IpAddr]>);

impl Used for Addresses {
    type Of = v1::Service;
    type Spec = RawSpec;
    type Status = RawStatus;

    fn of(_: &Meta, spec: RawSpec, status: RawStatus) -> Self {
        Self(addresses(spec, status))
    }
}

/// Who turns services into what the rest of the agent knows.
pub(super) struct AllServices {
    pub(super) addresses: watch::Sender<Services>,
    pub(super) view: Rc<View>,
}

impl Audience for AllServices {
    type Used = Addresses;

    const TOPIC: Topic = Topic::Services;

    /// No cluster is without the service of its API server.
    fn trusts(&self, listed: &Names<Addresses>) -> bool {
        !listed.is_empty()
    }

    fn publish(&mut self, all: &Store<Object<Addresses>>, _: &Names<Addresses>) {
        self.view.found(Topic::Services, all.len(), Vec::new());
        if all.is_empty() {
            return;
        }
        let now: BTreeSet<IpAddr> = all.state().iter().flat_map(|service| service.used.0.iter().copied()).collect();
        replace(&self.addresses, Services::Known(Arc::new(now)));
    }
}

/// As kube-proxy sees it: headless services and mere names have none, whatever else they say.
fn addresses(spec: RawSpec, status: RawStatus) -> Box<[IpAddr]> {
    let cluster_ip = spec.cluster_ip.filter(|text| !text.is_empty() && text != "None");
    let (Some(cluster_ip), false) = (cluster_ip, spec.r#type.as_deref() == Some("ExternalName")) else {
        return Box::default();
    };
    let ingress = status.load_balancer.ingress.into_iter().flatten();
    // With mode Proxy the balancer wants to see the packets itself.
    let ingress =
        ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy")).filter_map(|ingress| ingress.ip);
    let texts = [cluster_ip].into_iter().chain(spec.cluster_ips.into_iter().flatten());
    let texts = texts.chain(spec.external_ips.into_iter().flatten()).chain(ingress);
    let addresses: BTreeSet<IpAddr> = texts.filter_map(|text| text.parse().ok()).filter(can_be_a_service).collect();
    addresses.into_iter().collect()
}

/// Nobody shall take the node's own loopback, or everything, to the stack by writing a service.
fn can_be_a_service(address: &IpAddr) -> bool {
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: &Value, status: &Value) -> Vec<String> {
        let object = json!({"metadata": {"name": "s"}, "spec": spec, "status": status});
        let service: Object<Addresses> = serde_json::from_value(object).unwrap();
        service.used.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_address_that_kube_proxy_serves_and_no_other() {
        let none = json!({});
        let dual = json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:96::a"]});
        assert_eq!(read(&dual, &none), ["10.96.0.10", "fd00:96::a"]);
        assert_eq!(
            read(&json!({"clusterIP": "None", "clusterIPs": ["None"], "externalIPs": ["192.0.2.1"]}), &none),
            [""; 0]
        );
        assert_eq!(
            read(&json!({"type": "ExternalName", "externalName": "a.example", "clusterIP": ""}), &none),
            [""; 0]
        );
        assert_eq!(read(&json!({}), &none), [""; 0]);
        let balancer = json!({"loadBalancer": {"ingress": [
            {"ip": "192.0.2.7", "ipMode": "VIP"}, {"ip": "192.0.2.8", "ipMode": "Proxy"}, {"hostname": "lb.example"},
        ]}});
        let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "externalIPs": ["192.0.2.1", "127.0.0.1", "0.0.0.0"]});
        assert_eq!(read(&spec, &balancer), ["10.96.0.9", "192.0.2.1", "192.0.2.7"]);
    }
}
