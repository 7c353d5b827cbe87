//! The ways off the node: its uplinks, the overlay, and the routes to other nodes' pods.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use tokio::sync::watch;

use super::addresses;
use super::links;
use super::overlay::{self, OverlayDevice, OverlaySpec};
use super::peer_routes::{self, PeerRoutes, RouteFailure};
use super::proxy::IPVS_DEVICE;
use super::tables::{self, Tables, Towards};
use super::uplinks::{self, Search, Uplinks};
use super::{Node, NodeError, events};

impl Node {
    /// Starts to listen for changes; the number grows with each that may concern the ways off the node.
    ///
    /// # Errors
    /// No socket or thread is to be had.
    pub fn news(&self) -> Result<watch::Receiver<u64>, NodeError> {
        events::start(self.group)
    }

    /// The addresses by which the node itself is asked for. In its mode ipvs kube-proxy gives it those of all services
    /// too, and whoever asks for these does not ask for a port of the node.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn own_addresses(&self) -> Result<Vec<IpAddr>, NodeError> {
        self.worker
            .run(|socket| {
                let services = links::by_name(socket, IPVS_DEVICE)?.map(|link| link.index);
                let found = addresses::all(socket)?.into_iter();
                Ok(found.filter(|(_, device)| Some(*device) != services).map(|(address, _)| address).collect())
            })
            .await
    }

    /// The node's links, addresses and default routes.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn tables(&self) -> Result<Tables, NodeError> {
        self.worker.run(tables::read).await
    }

    /// Which devices lead off the node; `towards_peers` are those by which other nodes are reached, `before` what was
    /// found the last time.
    pub fn uplinks(
        &self,
        tables: &Tables,
        search: &Search,
        towards_peers: &HashSet<u32>,
        before: &HashSet<u32>,
    ) -> Uplinks {
        uplinks::find(tables, self.group, search, towards_peers, before)
    }

    /// The way to each address; those without one, and the node's own, are left out.
    ///
    /// # Errors
    /// A request that the kernel refused; to have no route is none.
    pub async fn look_up(&self, addresses: Vec<IpAddr>) -> Result<HashMap<IpAddr, Towards>, NodeError> {
        self.worker.run(move |socket| tables::look_up(socket, &addresses)).await
    }

    /// Makes the overlay device, or puts right what differs. It carries the node's own addresses towards its pods, as
    /// what a rule of somebody else's masquerades on its way to another node's pod must come from one that lives here.
    ///
    /// # Errors
    /// A device of that name that is not ours, a port that is taken, a kernel without VXLAN, a request that was refused.
    pub async fn ensure_overlay(&self, spec: OverlaySpec) -> Result<OverlayDevice, NodeError> {
        let (group, gateways, sysctls) = (self.group, self.gateways(), self.sysctls.clone());
        self.worker
            .run(move |socket| {
                let device = overlay::ensure(socket, &sysctls, group, spec)?;
                let found = addresses::all(socket)?;
                addresses::set(socket, &found, device.index, &gateways)?;
                Ok(device)
            })
            .await
    }

    /// Removes the overlay device, and the routes through it with it; one that is gone is no error.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn remove_overlay(&self) -> Result<(), NodeError> {
        let group = self.group;
        self.worker.run(move |socket| links::remove_device(socket, links::OVERLAY, group)).await
    }

    /// The routes to other nodes' pods that this agent or an older one made.
    ///
    /// # Errors
    /// A request that the kernel refused.
    pub async fn peer_routes(&self) -> Result<PeerRoutes, NodeError> {
        self.worker.run(peer_routes::read).await
    }

    /// Goes from the routes that there are to the wanted ones by differences: what there is then, and what failed.
    ///
    /// # Errors
    /// The requests could not be sent.
    pub async fn set_peer_routes(
        &self,
        mut there: PeerRoutes,
        wanted: PeerRoutes,
    ) -> Result<(PeerRoutes, Vec<RouteFailure>), NodeError> {
        self.worker
            .run(move |socket| {
                let failures = peer_routes::apply(socket, &mut there, &wanted)?;
                Ok((there, failures))
            })
            .await
    }
}
