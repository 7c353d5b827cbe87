//! The node's own devices, routes and neighbours.

mod addresses;
mod error;
mod events;
mod links;
mod neighbours;
pub(crate) mod netlink;
mod overlay;
mod peer_routes;
mod pools;
mod proxy;
mod rcu;
mod removal;
mod routes;
pub(crate) mod shaper;
mod sockets;
mod sysctl;
mod tables;
mod uplinks;
mod ways;
mod worker;

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use weft_cni::api::{Origin, PortMapping};
use weft_cni::mac::Mac;

use self::error::failed;
use self::links::Link;
use self::netlink::Socket;
use self::pools::Pools;
use self::removal::Removal;
use self::sysctl::Sysctls;
use self::worker::Worker;
use crate::endpoint::Endpoint;
use crate::text;

pub use error::NodeError;
pub use overlay::{OverlayDevice, OverlaySpec};
pub use peer_routes::{PeerRoute, PeerRoutes, RouteFailure};
pub use proxy::proxy;
pub use rcu::{Expedite, Window};
pub use shaper::{Class, Method, Shaper, ShaperMode};
pub use sockets::{Holder, Listener, Taken};
pub use tables::{Tables, Towards};
pub use uplinks::{Search, Uplink, Uplinks};

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

/// The agent's own device, by which packets come in that the agent sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Index of the device where they come in.
    pub device: u32,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Index of the device by which they are sent.
    pub entrance: u32,
}

impl Relay {
    /// Name of the device where packets come in.
    pub const NAME: &'static str = links::DEVICE;
}

/// The door to the node's network namespace.
#[derive(Clone, Debug)]
pub struct Node {
    group: u32,
    worker: Worker,
    removal: Arc<Removal>,
    sysctls: Sysctls,
    pools: Arc<Mutex<Pools>>,
    /// Whether the kernel could not list sockets when it was last asked.
    unlisted: Arc<AtomicBool>,
}

impl Node {
    /// Opens the netlink sockets in the caller's network namespace. `group` marks the host ends of this agent's veths;
    /// the one above it, those that are being removed. Sysctls are set below `proc_dir`.
    ///
    /// # Errors
    /// No socket or thread is to be had.
    pub fn open(group: u32, expedite: &Expedite, proc_dir: &Path) -> Result<Self, NodeError> {
        let removal = Arc::new(Removal::start(group, expedite)?);
        let sysctls = Sysctls::below(proc_dir);
        Ok(Self { group, worker: Worker::start()?, removal, sysctls, pools: Arc::default(), unlisted: Arc::default() })
    }

    /// Host routes and permanent neighbours towards the endpoint; nothing for an adopted one.
    ///
    /// # Errors
    /// The first request that the kernel refused; the others are done all the same.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<(), NodeError> {
        if endpoint.origin == Origin::Adopted {
            return Ok(());
        }
        let (index, mac) = (endpoint.spec.host_ifindex, endpoint.spec.pod_mac);
        let addresses = endpoint.spec.addresses.clone();
        let requests: Vec<_> = addresses
            .iter()
            .flat_map(|ip| [routes::to_pod(*ip, index, self.source(*ip)), neighbours::to_pod(*ip, index, mac)])
            .collect();
        self.worker
            .run(move |socket| {
                let answers = socket.apply_all(requests).map_err(failed("send", || "routes and neighbours"))?;
                let calls = ["RTM_NEWROUTE", "RTM_NEWNEIGH"].into_iter().cycle();
                let addresses = addresses.iter().flat_map(|ip| [ip, ip]);
                for ((answer, call), address) in answers.into_iter().zip(calls).zip(addresses) {
                    answer.map_err(failed(call, || format!("{address} dev ifindex {index}")))?;
                }
                Ok(())
            })
            .await
    }

    /// Compares link, routes and neighbours with the endpoint; the first difference is the error.
    ///
    /// # Errors
    /// The difference, or a request that the kernel refused.
    pub async fn verify(&self, endpoint: &Endpoint) -> Result<(), NodeError> {
        let (group, endpoint) = (self.group, endpoint.clone());
        self.worker.run(move |socket| verify(socket, group, &endpoint)).await
    }

    /// Every link of this agent's group that is not being removed.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn own_links(&self) -> Result<Vec<HostLink>, NodeError> {
        let (group, removal) = (self.group, Arc::clone(&self.removal));
        self.worker
            .run(move |socket| {
                let own = links::all(socket)?.into_iter().filter(|link| link.is_host_end(group));
                Ok(own.filter(|link| !removal.holds(link.index)).map(HostLink::from).collect())
            })
            .await
    }

    /// The link of that name, of whatever group.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn link(&self, name: &str) -> Result<Option<HostLink>, NodeError> {
        Ok(self.find(name).await?.map(HostLink::from))
    }

    /// Removes a host end and with it the pod's interface, its routes and neighbours. Only a link of this agent's
    /// group is removed. Removals that arrive together share one request; a link that is gone is no error.
    ///
    /// # Errors
    /// The link is not this agent's, or the kernel refused to remove it.
    pub async fn remove_link(&self, name: &str) -> Result<(), NodeError> {
        match self.find(name).await? {
            None => Ok(()),
            Some(link) if link.is_host_end(self.group) => self.removal.remove(link.index, name).await,
            Some(_) => Err(NodeError::NotOurs { name: name.to_owned() }),
        }
    }

    /// Returns when the host end of a pod has gone that nobody here removed; at once if one went since the last call.
    pub async fn lost_link(&self) {
        self.removal.lost().await;
    }

    /// The relay, while it is there.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn relay(&self) -> Result<Option<Relay>, NodeError> {
        let group = self.group;
        self.worker.run(move |socket| links::relay(socket, group)).await
    }

    /// Addresses of this node, which no pod may be given.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>, NodeError> {
        self.worker.run(|socket| Ok(addresses::all(socket)?.into_iter().map(|(address, _)| address).collect())).await
    }

    /// The first of these ports that a process of the node has.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn taken(&self, ports: Vec<PortMapping>) -> Result<Option<Taken>, NodeError> {
        let look = tokio::task::spawn_blocking(move || sockets::look(&ports));
        let found = look.await.map_err(|_| NodeError::Stopped)??;
        self.unlisted.store(!found.unlisted.is_empty(), Ordering::Relaxed);
        Ok(found.taken)
    }

    /// What works, but not as well as it could; a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let unlisted = self.unlisted.load(Ordering::Relaxed);
        let sentence = || {
            "this kernel cannot list its sockets, so that ports of the node are given to pods which a process has: load \
             tcp_diag and udp_diag"
                .to_owned()
        };
        unlisted.then(sentence).into_iter().collect()
    }

    /// Begins to end the node's connections to these addresses, of which nobody is left; nobody waits for it.
    pub fn sever(&self, addresses: Vec<IpAddr>) {
        drop(tokio::task::spawn_blocking(move || match sockets::sever(&addresses) {
            Ok(0) => {}
            Ok(count) => log::debug!("{count} connections of the node to {addresses:?} ended"),
            Err(error) => log::warn!("connections of the node to {addresses:?}: {}", text::chain(&error)),
        }));
    }

    /// Has the loopback device take answers of pods to the node itself; IPv6 does so by itself.
    ///
    /// # Errors
    /// A sysctl that cannot be written.
    pub fn accept_local(&self) -> Result<(), NodeError> {
        self.sysctls.accept_local()
    }

    /// Removes every device and route of ours; sysctls stay as they are.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn cleanup(&self) -> Result<(), NodeError> {
        for link in self.own_links().await? {
            self.removal.remove(link.ifindex, &link.name).await?;
        }
        let group = self.group;
        self.worker
            .run(move |socket| {
                let mut there = peer_routes::read(socket)?;
                let left = peer_routes::apply(socket, &mut there, &PeerRoutes::new())?;
                routes::remove_unreachable(socket)?;
                links::remove_device(socket, links::SHAPER, group)?;
                links::remove_device(socket, links::OVERLAY, group)?;
                links::remove_device(socket, links::DEVICE, group)?;
                left.into_iter().next().map_or(Ok(()), |failure| Err(failure.error))
            })
            .await
    }

    async fn find(&self, name: &str) -> Result<Option<Link>, NodeError> {
        let name = name.to_owned();
        self.worker.run(move |socket| links::by_name(socket, &name)).await
    }
}

fn verify(socket: &mut Socket, group: u32, endpoint: &Endpoint) -> Result<(), NodeError> {
    let spec = &endpoint.spec;
    let object = || format!("link {}", spec.host_ifname);
    let differs = |found, expected| NodeError::Differs { object: object(), found, expected };
    let link = links::by_name(socket, &spec.host_ifname)?.ok_or_else(|| NodeError::Missing { object: object() })?;
    if link.index != spec.host_ifindex {
        return Err(differs(format!("ifindex {}", link.index), format!("ifindex {}", spec.host_ifindex)));
    }
    if !link.up {
        return Err(differs("down".to_owned(), "up".to_owned()));
    }
    if endpoint.origin == Origin::Adopted {
        return Ok(());
    }
    if link.group != group {
        return Err(differs(format!("in group {}", link.group), format!("in group {group}")));
    }
    if link.mac != spec.host_mac.0 {
        let found = <[u8; 6]>::try_from(link.mac.as_slice()).map(Mac).unwrap_or_default();
        return Err(differs(found.to_string(), spec.host_mac.to_string()));
    }
    for address in &spec.addresses {
        routes::verify(socket, *address, spec.host_ifindex)?;
        neighbours::verify(socket, *address, spec.host_ifindex, spec.pod_mac)?;
    }
    Ok(())
}
