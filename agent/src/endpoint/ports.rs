//! Ports of the node that are pods': which there are, and whom a new one would meet.

use std::net::IpAddr;

use weft_cni::api::{PodRef, PortInfo, PortMapping};

use crate::kernel::Kernel;
use crate::text;

use super::error::show;
use super::{EndpointError, Endpoints, Record};

impl<K: Kernel> Endpoints<K> {
    /// Every mapping that stands, by port, protocol and address.
    pub(crate) fn ports(&self) -> Vec<PortInfo> {
        let mut list: Vec<_> = self.records.borrow().values().flat_map(of_record).collect();
        list.sort_by_key(|port| (port.mapping.host_port, port.mapping.protocol, port.mapping.host_ip, port.endpoint));
        list
    }

    /// Ports that another endpoint has are nobody else's.
    pub(super) fn refuse_ports_of_pods(&self, wanted: &[PortMapping]) -> Result<(), EndpointError> {
        let records = self.records.borrow();
        for (index, mapping) in wanted.iter().enumerate() {
            let has_it = |record: &&Record| {
                let spec = record.endpoint.as_ref();
                spec.is_some_and(|spec| spec.ports.iter().any(|port| port.overlaps(mapping)))
            };
            if let Some(record) = records.values().find(has_it) {
                return Err(EndpointError::PortOfPod { index, mapping: mapping.clone(), holder: holder(record) });
            }
        }
        Ok(())
    }

    /// Ports that a process of the node has stay that process's.
    pub(super) async fn refuse_ports_of_processes(&self, wanted: &[PortMapping]) -> Result<(), EndpointError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let taken =
            self.kernel.taken(wanted).await.map_err(|source| EndpointError::Sockets { source: source.into() })?;
        if let Some(taken) = taken
            && let Some(mapping) = wanted.get(taken.index)
        {
            let (index, mapping) = (taken.index, mapping.clone());
            return Err(EndpointError::PortOfProcess { index, mapping, taken: taken.into() });
        }
        self.warn_of_strange_addresses(wanted).await;
        Ok(())
    }

    /// An address that the node does not have may come later: a floating one, most often.
    async fn warn_of_strange_addresses(&self, wanted: &[PortMapping]) {
        let exact = |address: &IpAddr| !address.is_unspecified() && !address.is_loopback();
        let mut hosts = wanted.iter().filter_map(|mapping| mapping.host_ip).filter(exact).peekable();
        if hosts.peek().is_none() {
            return;
        }
        match self.kernel.addresses().await {
            Ok(own) => {
                for host in hosts.filter(|host| !own.contains(host)) {
                    log::warn!("hostIP {host} is no address of the node: nothing reaches its ports until it is one");
                }
            }
            Err(error) => log::warn!("{}", text::chain(&error)),
        }
    }
}

fn of_record(record: &Record) -> Vec<PortInfo> {
    let Some(spec) = &record.endpoint else { return Vec::new() };
    let info = |mapping: &PortMapping| PortInfo {
        mapping: mapping.clone(),
        endpoint: record.id,
        key: record.key.clone(),
        pod: record.pod.clone(),
        addresses: mapping.destinations(&spec.addresses).collect(),
    };
    spec.ports.iter().map(info).collect()
}

/// Pod and container, as people look for them.
fn holder(record: &Record) -> String {
    let container = show(&record.key);
    match &record.pod {
        Some(PodRef { namespace, name, .. }) => format!("pod {namespace}/{name} (container {container})"),
        None => format!("container {container}"),
    }
}
