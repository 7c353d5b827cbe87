//! Small objects, with what the agent reads of them.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;

/// Keeps pods off a node until its agent is ready.
pub const TAINT: &str = "weft.dev/agent-not-ready";

/// A node as its kubelet and the controllers of a cluster leave it before it has a network.
pub fn node(name: &str, pod_cidrs: &[impl AsRef<str>], addresses: &[IpAddr]) -> Value {
    let cidrs: Vec<&str> = pod_cidrs.iter().map(AsRef::as_ref).collect();
    let addresses = addresses.iter().map(|address| json!({ "type": "InternalIP", "address": address }));
    let hostname = json!({ "type": "Hostname", "address": name });
    json!({
        "kind": "Node", "apiVersion": "v1", "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {
            "podCIDR": cidrs.first(), "podCIDRs": cidrs,
            "taints": [
                { "key": "example.com/dedicated", "value": "test", "effect": "NoSchedule" },
                { "key": TAINT, "effect": "NoSchedule" },
            ],
        },
        "status": {
            "addresses": addresses.chain([hostname]).collect::<Vec<_>>(),
            "conditions": [condition("NetworkUnavailable", "True"), condition("Ready", "False")],
        },
    })
}

fn condition(kind: &str, status: &str) -> Value {
    let time = "2026-01-02T03:04:05Z";
    json!({ "type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": time,
        "lastHeartbeatTime": time })
}

/// A pod that is bound to a node.
pub fn pod(namespace: &str, name: &str, node: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "labels": { "app": name } },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "example.com/main:1" }] },
        "status": { "phase": "Pending" },
    })
}

/// A service with these cluster addresses.
pub fn service(namespace: &str, name: &str, cluster_ips: &[&str]) -> Value {
    json!({
        "kind": "Service", "apiVersion": "v1", "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ips.first(), "clusterIPs": cluster_ips,
            "ports": [{ "port": 80, "protocol": "TCP" }], "selector": { "app": name },
        },
        "status": { "loadBalancer": {} },
    })
}

/// Registers a node that exists by its object alone; its address comes from its IPv4 range.
pub fn put_stranger(server: &ApiServer, name: &str, cidr: &str) -> Result<()> {
    let range: Ipv4Net = cidr.parse()?;
    let [.., part, _] = range.addr().octets();
    server.put(node(name, &[cidr], &[[198, 18, 100, part].into()]))
}
