//! What the node has of its pods' ranges: an address of its own in each, and routes that end there.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use ipnet::IpNet;

use super::links::{self, Link};
use super::{Node, NodeError, addresses, routes};

/// What the node was prepared for.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pub(super) now: Vec<IpNet>,
    /// Those before, as long as routes may name the node's addresses of them: the kernel drops such a route together
    /// with the address.
    pub(super) before: Vec<IpNet>,
}

impl Node {
    /// Makes the device that carries the pools' gateway addresses, the routes that keep unknown pod addresses on
    /// the node, and turns forwarding on. Does what is missing and nothing else. Links whose removal a killed agent
    /// had begun are removed. Addresses of pools that it was prepared for before stay until [`Node::forget_former`].
    ///
    /// # Errors
    /// A pool that holds an address of the node or has no IPv6 under it, a device of that name that is not ours, a
    /// sysctl that cannot be set, a request that the kernel refused. The node is then for the pools of before.
    pub async fn prepare(&self, pools: &[IpNet]) -> Result<(), NodeError> {
        let group = self.group;
        let former = self.pools().clone();
        let before: Vec<_> = [&*former.now, &*former.before].concat();
        let before = before.into_iter().filter(|pool| !pools.contains(pool)).collect();
        *self.pools() = Pools { now: pools.to_vec(), before };
        if let Err(error) = self.settle().await {
            *self.pools() = former;
            return Err(error);
        }
        let condemned = |link: &Link| link.is_host_end(group) && link.group != group;
        let links = self.worker.run(links::all).await?;
        for link in links.into_iter().filter(condemned) {
            self.removal.remove(link.index, &link.name).await?;
        }
        Ok(())
    }

    /// Gives up the node's addresses of pools that it was prepared for before; nothing names them any more.
    ///
    /// # Errors
    /// As of [`Node::prepare`].
    pub async fn forget_former(&self) -> Result<(), NodeError> {
        if std::mem::take(&mut self.pools().before).is_empty() { Ok(()) } else { self.settle().await }
    }

    /// The same for the pools that it was prepared for; puts right what was changed since.
    ///
    /// # Errors
    /// As of [`Node::prepare`].
    pub async fn settle(&self) -> Result<(), NodeError> {
        let (group, sysctls) = (self.group, self.sysctls.clone());
        let Pools { now, before } = self.pools().clone();
        self.worker
            .run(move |socket| {
                sysctls.refuse_missing_ipv6(&now)?;
                let found = addresses::all(socket)?;
                addresses::refuse_overlap(socket, &found, &now)?;
                let device = links::ensure_device(socket, group)?;
                // What comes in here once more came by an uplink before.
                sysctls.loosen(links::DEVICE)?;
                let gateways: Vec<_> = now.iter().chain(&before).map(links::gateway).collect();
                addresses::set(socket, &found, device, &gateways)?;
                routes::set_unreachable(socket, &now)?;
                sysctls.forward(&now)
            })
            .await
    }

    /// The node's own addresses towards its pods, one a pool.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.pools().now.iter().map(links::gateway).collect()
    }

    /// The node's own address in the pool that the pod's is of.
    pub(super) fn source(&self, address: IpAddr) -> Option<IpAddr> {
        self.pools().now.iter().find(|pool| pool.contains(&address)).map(links::gateway)
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
