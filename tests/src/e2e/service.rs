//! Services that scenarios make.

use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use kube::{Api, Client};

use super::manifest::ServicePlan;

/// A service that is there.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Its addresses, one of a family; none where it is headless.
    pub(super) addresses: Vec<IpAddr>,
    /// Port of every node for its TCP port, and for its UDP port.
    pub(super) node_ports: Vec<(String, u16)>,
}

pub(super) async fn make(client: &Client, namespace: &str, plan: &ServicePlan<'_>) -> Result<Made> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let made = api.create(&PostParams::default(), &plan.service()?).await;
    let spec = made.with_context(|| format!("create service {}", plan.name))?.spec.unwrap_or_default();
    let addresses = spec.cluster_ips.unwrap_or_default().iter().filter_map(|text| text.parse().ok()).collect();
    let ports = spec.ports.unwrap_or_default().into_iter();
    let node_ports = ports.filter_map(|port| Some((port.protocol?, u16::try_from(port.node_port?).ok()?)));
    Ok(Made { addresses, node_ports: node_ports.collect() })
}
