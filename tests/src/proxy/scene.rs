//! Two nodes with kube-proxy's rules, and pods on both.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::{Endpoint, Forwarded, Mode, Protocol, Service, Site, forwarded, watch};
use crate::cluster::{Cluster, SOON, service};
use crate::fabric::{Fabric, Layout, Member, Routing};
use crate::netns::Netns;
use crate::node::{Attach, Family};
use crate::pod::Pod;
use crate::traffic::meet::{self, Met, Tcp};
use crate::traffic::stream;
use crate::wait;

/// Bytes of a stream: many windows.
const STREAM: usize = 4 << 20;

/// Nodes of a cluster that has a service, and their pods.
#[derive(Debug)]
pub struct Scene {
    near: Pod,
    same: Pod,
    far: Pod,
    cluster: Cluster,
    mode: Mode,
}

/// Who serves, as the pod [`Scene::near`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The pod itself.
    Itself,
    /// Another pod of its node.
    Same,
    /// A pod of the other node.
    Far,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Itself, Self::Same, Self::Far];
}

impl Scene {
    /// The port of every node.
    pub const NODE_PORT: u16 = 30_080;
    const POD_PORT: u16 = 8_080;

    /// Pods that run before there is any service.
    pub fn set(routing: Routing, mode: Mode) -> Result<Self> {
        let cluster = Cluster::start(Layout::new(routing, Attach::preferred()).nodes(2))?;
        let pod = |number, name| cluster.pod(cluster.member(number), "shop", name);
        let (near, same, far) = (pod(1, "near")?, pod(1, "same")?, pod(2, "far")?);
        let scene = Self { near, same, far, cluster, mode };
        for member in scene.fabric().members() {
            watch(member.node().netns())?;
        }
        let addresses = Family::BOTH.map(|family| Self::address(family).to_string());
        scene.cluster.server().put(service("shop", "web", &addresses.each_ref().map(String::as_str)))?;
        for member in scene.fabric().members() {
            wait::until("the programs know the service", SOON, || knows(member, &addresses))?;
        }
        Ok(scene)
    }

    /// The pod of the first node that asks.
    pub fn near(&self) -> &Pod {
        &self.near
    }

    /// The nodes, of which the first has two pods and the second one.
    pub fn fabric(&self) -> &Fabric {
        self.cluster.fabric()
    }

    /// The address of the service.
    pub fn address(family: Family) -> IpAddr {
        match family {
            Family::V4 => [10, 96, 0, 10].into(),
            Family::V6 => [0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0xa].into(),
        }
    }

    /// Where the service is asked inside the cluster.
    pub fn cluster(family: Family) -> SocketAddr {
        SocketAddr::new(Self::address(family), 80)
    }

    /// Where the service is asked by a port of that node.
    pub fn port_of(&self, node: usize, family: Family) -> SocketAddr {
        SocketAddr::new(self.fabric().member(node).address(family), Self::NODE_PORT)
    }

    /// The pod.
    pub fn pod(&self, backend: Backend) -> &Pod {
        match backend {
            Backend::Itself => &self.near,
            Backend::Same => &self.same,
            Backend::Far => &self.far,
        }
    }

    /// Where the pod serves.
    pub fn endpoint(&self, backend: Backend, family: Family) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.pod(backend).address(family)?, Self::POD_PORT))
    }

    /// A service of these pods, which nodes do not know before [`Self::publish`].
    pub fn service(&self, family: Family, protocol: Protocol, backends: &[Backend]) -> Result<Service> {
        let endpoints = backends
            .iter()
            .map(|backend| Ok(Endpoint { address: self.endpoint(*backend, family)?, local: *backend != Backend::Far }));
        Ok(Service {
            name: "WEB".to_owned(),
            protocol,
            cluster: Self::cluster(family),
            node_port: Some(Self::NODE_PORT),
            local: false,
            affinity: false,
            endpoints: endpoints.collect::<Result<_>>()?,
        })
    }

    /// Lets every node know these services and no others of their family.
    pub fn publish(&self, family: Family, services: &[Service]) -> Result<()> {
        for member in self.fabric().members() {
            let mut services = services.to_vec();
            for endpoint in services.iter_mut().flat_map(|service| &mut service.endpoints) {
                endpoint.local = endpoint.local == (member.number() == 1);
            }
            self.mode.apply(member.node().netns(), Site::new(member.address(family)), &services)?;
        }
        Ok(())
    }

    /// Lets a client talk with the pod by that target, at length.
    pub fn talk(&self, protocol: Protocol, backend: Backend, client: &Netns, target: SocketAddr) -> Result<Met> {
        let family = if target.is_ipv4() { Family::V4 } else { Family::V6 };
        let (server, at) = (self.pod(backend).netns(), self.endpoint(backend, family)?);
        let met = match protocol {
            Protocol::Tcp => {
                let (near, far, met) = Tcp::listen_at(server, at)?.pair(client, None, target)?;
                stream::both_ways_on(&near, &far, STREAM).context("a stream")?;
                met
            }
            Protocol::Udp => {
                let socket = meet::udp_socket(server, at)?;
                // Fragments wider than the pod's link are answered with "too big", and come smaller after that.
                let large = || meet::udp(client, &socket, target, 4000);
                large().or_else(|_| large()).context("fragments")?;
                meet::udp(client, &socket, target, 100)?
            }
        };
        ensure!(met.peer == target, "{target} answered as {}", met.peer);
        Ok(met)
    }

    /// What the stacks of both nodes have forwarded so far.
    pub fn forwarded(&self) -> Result<[Forwarded; 2]> {
        Ok([forwarded(self.fabric().node(1).netns())?, forwarded(self.fabric().node(2).netns())?])
    }

    /// Fails if connection tracking has met what it cannot place: kube-proxy drops that.
    pub fn must_be_tracked(&self) -> Result<()> {
        let counts = self.forwarded()?;
        ensure!(counts.iter().all(|node| node.invalid == 0), "invalid to connection tracking: {counts:?}");
        Ok(())
    }
}

/// Whether the programs of a node leave packets to all of these addresses to its stack, and to no others.
fn knows(member: &Member, addresses: &[String]) -> Result<bool> {
    let dump = member.weft(&["map", "dump", "peers"])?;
    let entries = dump["entries"].as_array().or_else(|| dump.as_array()).context("no list of entries")?;
    let stack =
        entries.iter().filter(|entry| entry["flags"].as_array().is_some_and(|flags| flags.contains(&"stack".into())));
    let ranges: Vec<_> = stack.filter_map(|entry| entry["range"].as_str()).collect();
    let named = |address: &String| ranges.iter().any(|range| range.split('/').next() == Some(address));
    Ok(ranges.len() == addresses.len() && addresses.iter().all(named))
}
