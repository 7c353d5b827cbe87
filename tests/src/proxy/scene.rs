//! Two nodes with kube-proxy's rules, and pods on both.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Endpoint, Forwarded, Mode, Protocol, Service, Site, forwarded, watch};
use crate::apiserver::SERVICES;
use crate::cluster::{Cluster, SOON, service};
use crate::exec;
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
    next_port: AtomicU16,
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

    /// The API server's own service, which no cluster is without.
    const API: &str = "10.96.0.1";

    /// Pods that run before there is any service of theirs.
    pub fn set(routing: Routing, mode: Mode) -> Result<Self> {
        let cluster = Cluster::start(Layout::new(routing, Attach::preferred()).nodes(2))?;
        let pod = |number, name| cluster.pod(cluster.member(number), "shop", name);
        let (near, same, far) = (pod(1, "near")?, pod(1, "same")?, pod(2, "far")?);
        let scene = Self { near, same, far, cluster, mode, next_port: AtomicU16::new(Self::NODE_PORT + 1) };
        for member in scene.fabric().members() {
            watch(member.node().netns())?;
        }
        // The world sends to the first node what is for a service.
        let to_first =
            |range: &str, family| format!("route add {range} via {}", scene.fabric().member(1).address(family));
        let routes = [
            to_first("10.96.0.0/16", Family::V4),
            to_first("198.18.96.0/24", Family::V4),
            to_first("fd00:10:96::/112", Family::V6),
            to_first("2001:db8:96::/112", Family::V6),
        ];
        exec::ip_batch(scene.fabric().core().netns(), &routes.each_ref().map(String::as_str))?;
        // Without an address there is nothing to translate.
        scene.cluster.server().put(service("shop", "db", &["None"]))?;
        scene.declare()?;
        Ok(scene)
    }

    /// Makes the API server have the service, and waits until the programs know its addresses and no others.
    pub fn declare(&self) -> Result<()> {
        let addresses = Family::BOTH.map(|family| Self::address(family).to_string());
        self.cluster.server().put(service("shop", "web", &addresses.each_ref().map(String::as_str)))?;
        self.must_know(&Family::BOTH.map(Self::address))
    }

    /// Gives the service addresses outside the cluster: its own, its load balancers', and the second node's.
    pub fn declare_outer(&self) -> Result<()> {
        let [own, balanced, node]: [Vec<IpAddr>; 3] =
            [0, 1, 2].map(|which| Family::BOTH.map(|family| self.outer(family)[which]).to_vec());
        self.cluster.server().edit(SERVICES, "shop", "web", |service| {
            service["spec"]["type"] = "LoadBalancer".into();
            service["spec"]["externalIPs"] = json!([own[0], own[1], node[0], node[1]]);
            let ingress: Vec<_> = balanced.iter().map(|ip| json!({ "ip": ip, "ipMode": "VIP" })).collect();
            service["status"]["loadBalancer"]["ingress"] = ingress.into();
        })?;
        self.must_know(&[&Family::BOTH.map(Self::address)[..], &own, &balanced, &node].concat())
    }

    /// The addresses of [`Self::declare_outer`].
    pub fn outer(&self, family: Family) -> [IpAddr; 3] {
        let [own, balanced] = match family {
            Family::V4 => [7, 8].map(|last| [198, 18, 96, last].into()),
            Family::V6 => [7, 8].map(|last| [0x2001, 0xdb8, 0x96, 0, 0, 0, 0, last].into()),
        };
        [own, balanced, self.fabric().member(2).address(family)]
    }

    /// Removes the service from the API server, and waits until the programs have forgotten it.
    pub fn withdraw(&self) -> Result<()> {
        self.cluster.server().remove(SERVICES, "shop", "web")?;
        self.must_know(&[])
    }

    /// Waits until the programs of all nodes leave packets to these addresses to the stack, and to no others.
    fn must_know(&self, addresses: &[IpAddr]) -> Result<()> {
        let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).chain([Self::API.to_owned()]).collect();
        for member in self.fabric().members() {
            wait::until("the programs know the services", SOON, || knows(member, &addresses))
                .with_context(|| format!("{addresses:?}"))?;
        }
        Ok(())
    }

    /// The cluster, with its API server.
    pub fn kubernetes(&self) -> &Cluster {
        &self.cluster
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
            outer: Vec::new(),
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
                let meet = |size| meet::udp_from(&self.fresh(client, family)?, &socket, target, size);
                meet(4000).or_else(|_| meet(4000)).context("fragments")?;
                meet(100)?
            }
        };
        ensure!(met.peer == target, "{target} answered as {}", met.peer);
        Ok(met)
    }

    /// A socket at a port that no other had: kube-proxy forgets the UDP flows to pods that serve no more, and here
    /// connection tracking would still send a port that comes again to the pod of the last time.
    fn fresh(&self, client: &Netns, family: Family) -> Result<UdpSocket> {
        let any: IpAddr = if family == Family::V4 { [0; 4].into() } else { [0_u16; 8].into() };
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        meet::udp_socket(client, SocketAddr::new(any, port))
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
    let entries = dump.as_array().context("no list of entries")?;
    let stack =
        entries.iter().filter(|entry| entry["flags"].as_array().is_some_and(|flags| flags.contains(&"stack".into())));
    let ranges: Vec<_> = stack.filter_map(|entry| entry["range"].as_str()).collect();
    let named = |address: &String| ranges.iter().any(|range| range.split('/').next() == Some(address));
    Ok(ranges.len() == addresses.len() && addresses.iter().all(named))
}
