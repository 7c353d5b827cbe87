//! The pod's side of an endpoint: one batch of requests inside the pod's namespace.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;

use crate::link::inspect::{get_by_index, undelivered};
use crate::link::netlink::{Netlink, NetlinkError};
use crate::link::netns::{Netns, NetnsError};
use crate::link::sysctls::{SysctlError, enable_ipv6};
use crate::link::{addresses, gateway, neighbours, routes, veth};
use crate::mac::Mac;
use crate::spec::result::Route;

/// `lo` is the first device of every network namespace.
const LOOPBACK: u32 = 1;

/// How long the kernel may take until it delivers to a new address, and the pause between two looks.
const USABLE_WITHIN: Duration = Duration::from_secs(5);
const USABLE_PAUSE: Duration = Duration::from_micros(50);

/// How the pod's side shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSide {
    pub(crate) ifindex: u32,
    pub(crate) ifname: String,
    pub(crate) addresses: Vec<IpNet>,
    /// Routes, all through the gateway of their family.
    pub(crate) routes: Vec<Route>,
    /// MAC of the gateways: the host end's.
    pub(crate) gateway_mac: Mac,
}

/// The pod's side could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodSideError {
    #[error("in the pod: {0}")]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    #[error("in the pod: the kernel did not make address {0} usable in time")]
    NotUsable(IpAddr),
}

impl PodSide {
    /// Sets it up. `pod` is a socket in the namespace; the host end is up already.
    pub(crate) fn configure(&self, pod: &mut Netlink, netns: &Netns) -> Result<(), PodSideError> {
        if self.addresses.iter().any(|address| address.addr().is_ipv6()) {
            netns.enter(|| enable_ipv6(&self.ifname))??;
        }
        // Each request, and the gateway whose route it adds.
        let mut plan = vec![(veth::up(LOOPBACK), None)];
        plan.extend(veth::set_up(self.ifindex).map(|request| (request, None)));
        plan.extend(self.addresses.iter().map(|address| (addresses::add(self.ifindex, *address), None)));
        for gateway in self.gateways() {
            plan.push((neighbours::add_permanent(self.ifindex, gateway, self.gateway_mac), None));
            plan.push((routes::to_gateway(self.ifindex, gateway), Some(gateway)));
            let routes = self.routes_by(gateway).map(|route| routes::via(self.ifindex, route, None));
            plan.extend(routes.map(|request| (request, Some(gateway))));
        }
        plan.push((get_by_index(self.ifindex), None));
        let (requests, gateways): (Vec<_>, Vec<_>) = plan.into_iter().unzip();
        let mut answer = veth::tolerate_no_ipv6(pod.batch(requests)?);
        let mut taken = Vec::new();
        answer.refusals.retain(|refusal| match gateways.get(refusal.index) {
            Some(Some(gateway)) if refusal.errno == Errno::EEXIST => {
                taken.push(*gateway);
                false
            }
            _ => true,
        });
        answer.complete()?;
        taken.dedup();
        taken.into_iter().try_for_each(|gateway| self.route_by_source(pod, gateway))
    }

    /// A pod that has a default route by another interface keeps it: what is sent from this interface's addresses
    /// goes out here by rules and a table of its own.
    fn route_by_source(&self, pod: &mut Netlink, gateway: IpAddr) -> Result<(), PodSideError> {
        let table = u32::from(b'W') << 24 | self.ifindex;
        let routes = self.routes_by(gateway).filter(|route| route.table.is_none());
        let mut requests: Vec<_> = routes.map(|route| routes::via(self.ifindex, route, Some(table))).collect();
        let own = self.addresses.iter().map(IpNet::addr).filter(|address| address.is_ipv4() == gateway.is_ipv4());
        requests.extend(own.map(|address| routes::rule_from(address, table)));
        let mut answer = pod.batch(requests)?;
        // A rule outlives the interface that it was made for.
        answer.refusals.retain(|refusal| refusal.errno != Errno::EEXIST);
        answer.complete()?;
        Ok(())
    }

    /// The gateways of the families that it has addresses of, IPv4 first.
    fn gateways(&self) -> Vec<IpAddr> {
        let mut gateways: Vec<_> = self.addresses.iter().map(|address| gateway(address.addr())).collect();
        gateways.sort_unstable();
        gateways.dedup();
        gateways
    }

    fn routes_by(&self, gateway: IpAddr) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(move |route| route.dst.addr().is_ipv4() == gateway.is_ipv4())
    }
}

/// Returns when the pod takes packets for each of its addresses.
pub(crate) fn wait_until_usable(pod: &mut Netlink, addresses: &[IpAddr]) -> Result<(), PodSideError> {
    let deadline = Instant::now() + USABLE_WITHIN;
    // An IPv4 address is usable when it is acknowledged.
    let mut left: Vec<_> = addresses.iter().copied().filter(IpAddr::is_ipv6).collect();
    loop {
        left = undelivered(pod, &left)?;
        match left.first() {
            None => return Ok(()),
            Some(address) if Instant::now() > deadline => return Err(PodSideError::NotUsable(*address)),
            Some(_) => thread::sleep(USABLE_PAUSE),
        }
    }
}
