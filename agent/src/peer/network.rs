//! Keeps the kernel's peers, uplinks and routes as the list of nodes, the configuration and the devices say.
//!
//! One task owns them. A new list changes what differs and nothing else; news of the node's devices, and the timer,
//! make it look at everything and put right what somebody changed.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use weft_cni::api::OverlayStatus;

use crate::config::NetworkConfig;
use crate::datapath::{Datapath, DatapathError, Device, Tunnel, UplinkDevice};
use crate::node::{Node, OverlayDevice, OverlaySpec, PeerRoutes, Relay, Search, Towards, Uplinks};
use crate::shaping::Shaping;
use crate::text;

use super::plan::{Facts, Plan, plan, pod_mtu};
use super::uplinks::{device, show};
use super::{Listing, NetworkError, PeerSet, Sources, View};

/// How often everything is compared while nothing happens.
const VERIFY: Duration = Duration::from_secs(30);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Changes of devices come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What the network is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: NetworkConfig,
    /// This node's addresses as others know them, for as long as no list says so.
    pub(crate) own_addresses: Vec<IpAddr>,
    /// MTU that new pods get, if the configuration says so, in bytes.
    pub(crate) mtu: Option<u32>,
}

/// The one owner of what the kernel knows of other nodes and of the devices that lead there.
#[derive(Debug)]
pub(crate) struct Network {
    node: Node,
    datapath: Arc<Datapath>,
    shaping: Rc<Shaping>,
    settings: Settings,
    sources: Sources,
    news: watch::Receiver<u64>,
    view: Rc<View>,
    /// What the kernel knew of services before anybody said.
    stack_before: Vec<IpNet>,
    uplinks: Uplinks,
    towards: HashMap<IpAddr, Towards>,
    overlay: Option<OverlayDevice>,
    /// Those that are known to be there; `None` to read them anew.
    routes: Option<PeerRoutes>,
    own_addresses: Vec<IpAddr>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// What follows from the lists of nodes and services.
    Peers,
    /// That, and devices and routes as they are.
    Everything,
}

impl Network {
    /// Brings up the network: everything that can be. What else is wrong is told by the view, and tried again.
    ///
    /// # Errors
    /// Events cannot be heard, or the overlay device cannot be made.
    pub(crate) async fn start(
        node: Node,
        datapath: Arc<Datapath>,
        shaping: Rc<Shaping>,
        settings: Settings,
        sources: Sources,
        view: Rc<View>,
    ) -> Result<Self, NetworkError> {
        let news = node.news()?;
        let mut network = Self {
            node,
            datapath,
            shaping,
            settings,
            sources,
            news,
            view,
            stack_before: Vec::new(),
            uplinks: Uplinks::default(),
            towards: HashMap::new(),
            overlay: None,
            routes: None,
            own_addresses: Vec::new(),
        };
        network.stack_before = network.blocking(Datapath::stack_ranges).await?;
        if network.settings.config.overlay.is_none() {
            network.node.remove_overlay().await?;
        }
        network.round(Scope::Everything).await;
        if network.settings.config.overlay.is_some() && network.overlay.is_none() {
            // It says why.
            let set = network.sources.lists.borrow().known.clone().unwrap_or_else(|| network.unlisted());
            network.mend_overlay(&set).await?;
        }
        Ok(network)
    }

    /// Follows lists and devices until the agent stops.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut verify = Instant::now() + VERIFY;
        let mut pause = DEBOUNCE;
        loop {
            let scope = tokio::select! {
                // The agent outlives whoever sends lists: without one they never change.
                Ok(()) = self.sources.lists.changed() => Scope::Peers,
                Ok(()) = self.sources.services.changed() => Scope::Peers,
                // The node's own addresses towards pods have changed with them.
                Ok(()) = self.sources.local.changed() => Scope::Everything,
                // News wait for those that follow; lists do not wait for news.
                Ok(()) = self.news.changed() => {
                    verify = verify.min(Instant::now() + pause);
                    continue;
                }
                () = sleep_until(verify) => Scope::Everything,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let begun = Instant::now();
            let whole = self.round(scope).await;
            if scope == Scope::Everything {
                verify = Instant::now() + if whole { VERIFY } else { RETRY };
                // Among thousands of peers and restless devices a fifth of the time is enough.
                pause = DEBOUNCE.max(begun.elapsed() * 4);
            } else if !whole {
                verify = verify.min(Instant::now() + RETRY);
            }
        }
    }

    /// Compares and changes; whether nothing failed.
    async fn round(&mut self, scope: Scope) -> bool {
        let Listing { known, problem } = self.sources.lists.borrow_and_update().clone();
        let mut problems: Vec<String> = problem.into_iter().collect();
        if scope == Scope::Everything {
            self.news.borrow_and_update();
            self.routes = None;
            // The rest does without: pods of this node reach each other all the same.
            problems.extend(self.node.settle().await.err().map(|error| text::chain(&error)));
            problems.extend(self.shaping.mend().await.err().map(|error| text::chain(&error)));
        }
        let set = known.clone().unwrap_or_else(|| self.unlisted());
        let errors = self.steps(scope, &set, known.is_some(), &mut problems).await;
        if known.is_some() {
            self.view.led.send_if_modified(|led| !std::mem::replace(led, true));
        }
        problems.extend(errors.iter().map(|error| text::chain(error)));
        problems.extend(self.uplinks.warnings.iter().cloned());
        let mut state = self.view.state.borrow_mut();
        for new in problems.iter().filter(|problem| !state.problems.contains(problem)) {
            log::warn!("{new}");
        }
        state.problems = problems;
        errors.is_empty()
    }

    /// As long as there is no list.
    fn unlisted(&self) -> Arc<PeerSet> {
        Arc::new(PeerSet { own_addresses: self.settings.own_addresses.clone(), ..PeerSet::default() })
    }

    /// Every step that does not need one that failed.
    async fn steps(
        &mut self,
        scope: Scope,
        set: &Arc<PeerSet>,
        known: bool,
        problems: &mut Vec<String>,
    ) -> Vec<NetworkError> {
        let mut errors = Vec::new();
        let surveyed = self.survey(scope, set).await;
        let everywhere = surveyed.as_ref().is_ok_and(|everywhere| *everywhere);
        errors.extend(surveyed.err());
        let mended = self.mend_overlay(set).await;
        // What the kernel has stays where the list is not known. Without the overlay nothing may take a way that is
        // meant for networks which know pods.
        let leads = known && mended.is_ok();
        errors.extend(mended.err());
        let Plan { ranges, exempt, routes, ways, problems: more } = self.plan(set);
        problems.extend(more);
        if leads {
            // What pods may reach unmasked, before what leads there, before the devices that mask.
            errors.extend(self.blocking(move |datapath| datapath.set_exempt(&exempt)).await.err());
            errors.extend(self.blocking(move |datapath| datapath.set_peers(&ranges)).await.err());
        }
        if scope == Scope::Everything {
            errors.extend(self.learn_addresses().await.err());
        }
        if everywhere {
            errors.extend(self.attach().await.err());
        }
        if leads {
            errors.extend(self.set_routes(routes, problems).await.err());
        }
        self.tell(set, ways);
        errors
    }

    /// Finds the uplinks, and the ways to the peers; whether it looked at all of them.
    async fn survey(&mut self, scope: Scope, set: &PeerSet) -> Result<bool, NetworkError> {
        let wanted: HashSet<IpAddr> = set.peers.iter().flat_map(|peer| peer.addresses.iter().copied()).collect();
        let own_moved = self.own_addresses != set.own_addresses;
        self.own_addresses.clone_from(&set.own_addresses);
        if scope == Scope::Peers && !own_moved {
            self.towards.retain(|address, _| wanted.contains(address));
            let new = wanted.iter().filter(|address| !self.towards.contains_key(address)).copied().collect();
            let new = self.node.look_up(new).await?;
            let by_uplinks = new.values().all(|way| self.uplinks.get(way.device).is_some());
            self.towards.extend(new);
            if by_uplinks || !self.settings.config.devices.is_empty() {
                return Ok(false);
            }
        } else {
            self.towards = self.node.look_up(wanted.into_iter().collect()).await?;
        }
        let tables = self.node.tables().await?;
        let devices = self.towards.values().map(|way| way.device).collect();
        let search = Search { devices: self.settings.config.devices.clone(), node_ip: self.node_ip(set).to_vec() };
        let before = self.uplinks.all.iter().map(|uplink| uplink.index).collect();
        let found = self.node.uplinks(&tables, &search, &devices, &before);
        if found.all != self.uplinks.all {
            log::info!("uplinks: {}", show(&found.all));
        }
        self.uplinks = found;
        Ok(true)
    }

    async fn mend_overlay(&mut self, set: &PeerSet) -> Result<(), NetworkError> {
        let mtu = self.settings.mtu.unwrap_or_else(|| self.carried(set));
        if self.view.pod_mtu.replace(mtu) != mtu {
            log::info!("new pods get an MTU of {mtu}");
        }
        let Some(overlay) = self.settings.config.overlay else { return Ok(()) };
        self.overlay = None;
        self.overlay = Some(self.node.ensure_overlay(OverlaySpec { port: overlay.port, mtu }).await?);
        Ok(())
    }

    /// The node's addresses as others know them; empty if nobody said.
    fn node_ip<'a>(&'a self, set: &'a PeerSet) -> &'a [IpAddr] {
        let configured = &self.settings.config.node_ip;
        if configured.is_empty() { &set.own_addresses } else { configured }
    }

    /// The way through the overlay, without its far end.
    fn tunnel(&self) -> Option<Tunnel> {
        let (device, overlay) = self.overlay.as_ref().zip(self.settings.config.overlay)?;
        Some(Tunnel { device: device.index, vni: overlay.vni, mtu: device.mtu })
    }

    /// The largest packet of a pod that leaves the node whole, in bytes.
    fn carried(&self, set: &PeerSet) -> u32 {
        pod_mtu(self.settings.config.overlay.is_some(), self.node_ip(set), &self.uplinks, &set.peers)
    }

    fn plan(&mut self, set: &PeerSet) -> Plan {
        let local = Arc::clone(&self.sources.local.borrow_and_update());
        let stack = self.sources.services.borrow_and_update().ranges(&self.stack_before);
        let mut made = plan(
            set,
            &Facts {
                config: &self.settings.config,
                own_ranges: &local,
                node_ip: self.node_ip(set),
                gateways: &self.node.gateways(),
                uplinks: &self.uplinks,
                towards: &self.towards,
                overlay: self.tunnel(),
                stack: &stack,
            },
        );
        let carried = self.carried(set);
        if let Some(mtu) = self.settings.mtu.filter(|mtu| *mtu > carried) {
            made.problems
                .push(format!("mtu {mtu} is more than the {carried} bytes that fit through the uplinks: lower it"));
        }
        made
    }

    /// By which addresses ports of the node can be asked for.
    async fn learn_addresses(&self) -> Result<(), NetworkError> {
        let addresses = self.node.own_addresses().await?;
        self.blocking(move |datapath| datapath.set_node_addresses(&addresses)).await
    }

    async fn attach(&self) -> Result<(), NetworkError> {
        if !self.datapath.serves_sockets() {
            self.node.accept_local()?;
        }
        let uplinks: Vec<UplinkDevice> = self.uplinks.all.iter().map(device).collect();
        let (overlay, relay) = (self.overlay.clone(), self.node.relay().await?);
        self.blocking(move |datapath| {
            let overlay = overlay.as_ref().map(|overlay| Device { name: overlay.name, index: overlay.index });
            let relay = relay.map(|relay| Device { name: Relay::NAME, index: relay.device });
            datapath.set_devices(&uplinks, overlay, relay)
        })
        .await
    }

    async fn set_routes(&mut self, wanted: PeerRoutes, problems: &mut Vec<String>) -> Result<(), NetworkError> {
        let there = match self.routes.take() {
            Some(there) => there,
            None => self.node.peer_routes().await?,
        };
        let (there, failures) = self.node.set_peer_routes(there, wanted).await?;
        self.routes = Some(there);
        // One bad route seldom comes alone; the log would drown in what the first says.
        let (first, others) = (failures.first(), failures.len().saturating_sub(1));
        problems.extend(first.map(|failure| {
            let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
            format!("route to {}: {}{more}", failure.range, text::chain(&failure.error))
        }));
        Ok(())
    }

    fn tell(&self, set: &Arc<PeerSet>, ways: Vec<(weft_cni::api::PeerWay, Option<IpAddr>)>) {
        let mut state = self.view.state.borrow_mut();
        state.place(Arc::clone(set), ways);
        state.uplinks = self.uplinks.clone();
        state.overlay = self.overlay.as_ref().zip(self.settings.config.overlay).map(|(device, overlay)| {
            OverlayStatus { device: device.name.to_owned(), port: overlay.port, vni: overlay.vni, mtu: device.mtu }
        });
    }

    /// Makes a call that may take a while on a thread where nobody waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Datapath) -> Result<T, DatapathError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let datapath = Arc::clone(&self.datapath);
        Ok(tokio::task::spawn_blocking(move || call(&datapath)).await??)
    }
}
