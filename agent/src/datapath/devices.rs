//! Uplinks and the overlay device: which there are, and their programs.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_abi::{Addr, Hook, UPLINKS_MAX, Uplink, map};

use super::attach::{clsact, tcx};
use super::hook::{Device, Role};
use super::maps::{full_or, of};
use super::plain::Put;
use super::{Datapath, DatapathError, State};

/// A device that leads off the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkDevice {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub index: u32,
    /// IPv4 address that pods' packets leave with.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address that pods' packets leave with.
    pub v6: Option<Ipv6Addr>,
}

/// The node's own `lo`, which has that index in every namespace.
const LOOPBACK: Device<'_> = Device { name: "lo", index: 1 };

/// The devices that have programs of ours and are no pod's, by name.
pub(super) type Devices = BTreeMap<String, (u32, Role)>;

impl Datapath {
    /// Makes these the node's uplinks, its overlay device and its relay: attaches what is missing, puts the programs in the
    /// place of those of an older agent, and detaches from what is no longer listed.
    ///
    /// # Errors
    /// The first device that could not be served; the others are, and the next call tries again.
    pub fn set_devices(
        &self,
        uplinks: &[UplinkDevice],
        overlay: Option<Device<'_>>,
        relay: Option<Device<'_>>,
    ) -> Result<(), DatapathError> {
        let mut wanted = Devices::new();
        for uplink in uplinks {
            wanted.insert(uplink.name.clone(), (uplink.index, Role::Uplink));
        }
        for (device, role) in
            overlay.map(|device| (device, Role::Overlay)).into_iter().chain(relay.map(|device| (device, Role::Relay)))
        {
            wanted.insert(device.name.to_owned(), (device.index, role));
        }
        let mut state = self.state();
        if !state.serves_sockets() {
            // The node's own processes are served packet by packet.
            wanted.insert(LOOPBACK.name.to_owned(), (LOOPBACK.index, Role::Loopback));
        }
        let mut outcome = self.leave(&mut state, &wanted);
        for (name, (index, role)) in &wanted {
            let device = Device { name, index: *index };
            let attached = self.join(&mut state, device, *role);
            let written = match uplinks.iter().find(|uplink| uplink.name == *name) {
                // An uplink in the map whose programs are missing would let pods' addresses out.
                Some(uplink) if attached.is_ok() => self.write_uplink(uplink),
                _ => Ok(()),
            };
            outcome = outcome.and(attached).and(written);
        }
        outcome.and_then(|()| self.finish_carrying(&mut state))
    }

    /// Whether processes of the node reach ports of the node by their sockets; if not, `lo` has a program.
    pub(crate) fn serves_sockets(&self) -> bool {
        self.state().serves_sockets()
    }

    fn join(&self, state: &mut State, device: Device, role: Role) -> Result<(), DatapathError> {
        let State { programs, others, devices, .. } = state;
        let known = devices.as_ref().and_then(|devices| devices.get(device.name)) == Some(&(device.index, role));
        if known && self.attacher.is_whole(programs, device, role)? {
            return Ok(());
        }
        self.attacher.attach(programs, others, device, role)?;
        devices.get_or_insert_default().insert(device.name.to_owned(), (device.index, role));
        Ok(())
    }

    /// Lets go of every device that is not wanted, also of those that only an older agent knew.
    fn leave(&self, state: &mut State, wanted: &Devices) -> Result<(), DatapathError> {
        let mut outcome = Ok(());
        let indices: Vec<u32> =
            wanted.values().filter(|(_, role)| *role == Role::Uplink).map(|(index, _)| *index).collect();
        outcome = outcome.and(self.erase_uplinks(&indices));
        let before = match &state.devices {
            Some(devices) => devices.clone(),
            None => clsact::find(&[Role::Uplink, Role::Overlay, Role::Loopback])?,
        };
        for (name, (index, role)) in &before {
            // A relay that was found by its filters is taken for an uplink.
            let stay = wanted.get(name).filter(|(wanted, _)| wanted == index).map_or(&[][..], |(_, role)| role.hooks());
            let gone: Vec<Hook> = role.hooks().iter().filter(|hook| !stay.contains(hook)).copied().collect();
            outcome = outcome.and(clsact::remove(&gone, Device { name, index: *index }));
        }
        for pins in [&self.attacher.pins].into_iter().chain(&state.others) {
            for link in pins.pinned()? {
                let stays = wanted.get(&link.device).is_some_and(|(_, role)| role.hooks().contains(&link.hook));
                // Pods' go with their endpoints, the shaper's with its devices.
                if !matches!(Role::of(link.hook), Role::Pod | Role::Shaper) && !stays {
                    outcome = outcome.and(tcx::remove(&link.path, &self.attacher.expedite).map(drop));
                }
            }
        }
        let devices = state.devices.get_or_insert_default();
        devices.retain(|name, device| wanted.get(name) == Some(device));
        outcome
    }

    fn write_uplink(&self, device: &UplinkDevice) -> Result<(), DatapathError> {
        let addr = |ip: Option<IpAddr>| ip.map_or(Addr::default(), Addr::from);
        let value = Uplink { v4: addr(device.v4.map(IpAddr::V4)), v6: addr(device.v6.map(IpAddr::V6)) };
        let uplinks = &self.maps.uplinks;
        if uplinks.get(&device.index).map_err(of("look-up", map::UPLINKS))? != Some(value) {
            uplinks.put(&device.index, &value, Put::Any).map_err(full_or(map::UPLINKS, UPLINKS_MAX))?;
        }
        Ok(())
    }

    fn erase_uplinks(&self, keep: &[u32]) -> Result<(), DatapathError> {
        let found: HashMap<u32, Uplink> =
            self.maps.uplinks.all().map_err(of("iterate", map::UPLINKS))?.into_iter().collect();
        let stale: Vec<u32> = found.into_keys().filter(|index| !keep.contains(index)).collect();
        self.maps.uplinks.delete_all(&stale).map_err(of("delete", map::UPLINKS))
    }
}
