//! The node's own devices, routes and neighbours.

mod error;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::endpoint::Endpoint;

pub use error::NodeError;

/// A link in the node's namespace that carries the agent's group, or that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLink {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Link group.
    pub group: u32,
}

/// The door to the node's network namespace.
#[derive(Clone, Debug)]
pub struct Node {}

impl Node {
    /// Opens the netlink socket. `group` marks the host ends of this agent's veths.
    pub fn open(group: u32) -> Result<Self, NodeError> {
        let _ = group;
        todo!()
    }

    /// Makes the device that carries the pools' gateway addresses, the routes that keep unknown pod addresses on
    /// the node, and turns forwarding on. Does what is missing and nothing else.
    pub async fn prepare(&self, pools: &[IpNet]) -> Result<(), NodeError> {
        let _ = pools;
        todo!()
    }

    /// MTU of the device that the default route leaves by, in bytes; 1500 without one.
    pub async fn uplink_mtu(&self) -> Result<u32, NodeError> {
        todo!()
    }

    /// Host routes and permanent neighbours towards the endpoint; nothing for an adopted one.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<(), NodeError> {
        let _ = endpoint;
        todo!()
    }

    /// Compares link, routes and neighbours with the endpoint; the first difference is the error.
    pub async fn verify(&self, endpoint: &Endpoint) -> Result<(), NodeError> {
        let _ = endpoint;
        todo!()
    }

    /// Every link of this agent's group.
    pub async fn own_links(&self) -> Result<Vec<HostLink>, NodeError> {
        todo!()
    }

    /// The link of that name, of whatever group.
    pub async fn link(&self, name: &str) -> Result<Option<HostLink>, NodeError> {
        let _ = name;
        todo!()
    }

    /// Removes a host end and with it the pod's interface, its routes and neighbours. Only a link of this agent's
    /// group is removed. Removals that arrive together share one request; a link that is gone is no error.
    pub async fn remove_link(&self, name: &str) -> Result<(), NodeError> {
        let _ = name;
        todo!()
    }

    /// Addresses of this node, which no pod may be given.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>, NodeError> {
        todo!()
    }

    /// Removes every device and route of ours.
    pub async fn cleanup(&self) -> Result<(), NodeError> {
        todo!()
    }
}
