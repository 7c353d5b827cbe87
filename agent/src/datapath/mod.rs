//! The eBPF programs and their maps; the only user of aya.

mod attach;
mod carry;
mod cgroup;
mod cleanup;
mod devices;
mod dump;
mod error;
mod events;
mod flows;
mod hook;
mod loader;
mod look;
mod maps;
mod node_addrs;
mod peers;
mod pins;
mod plain;
mod pods;
mod ports;
mod probe;
mod rates;
mod rehearsal;
mod spec;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use weft_abi::{Addr, Target};

use self::attach::{Attacher, clsact, tcx};
use self::cgroup::Sockets;
use self::devices::Devices;
use self::flows::Counted;
use self::hook::Role;
use self::loader::Programs;
use self::maps::Maps;
use self::pins::Pins;
use self::probe::Method;
use self::rates::Granted;
use crate::endpoint::Endpoint;
use crate::node::Expedite;

pub use cleanup::cleanup;
pub use devices::UplinkDevice;
pub use error::DatapathError;
pub use events::EventStream;
pub(crate) use events::ParkedStream;
pub use hook::Device;
pub(crate) use hook::device_name;
pub use peers::{Home, PeerRange, Tunnel};
pub(crate) use plain::{FrameSocket, trim_heap};
pub(crate) use probe::{kernel, limits_memory, on_bpffs, tcx};
pub(crate) use rehearsal::{Rehearsal, rehearse};

/// How programs get onto a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX links (kernel 6.6 or newer).
    Tcx,
    /// Filters on a clsact queueing discipline.
    Clsact,
}

/// What the datapath needs to know before it starts.
#[derive(Clone, Debug)]
pub struct DatapathConfig {
    /// Directory on a BPF filesystem; maps and links are pinned below its `v<ABI>`.
    pub bpf_dir: PathBuf,
    /// How programs get onto a device.
    pub attach: AttachMode,
    /// Hastens the grace periods of attaching.
    pub expedite: Expedite,
    /// UDP port of the overlay; none without one.
    pub overlay_port: Option<u16>,
    /// Whether pods' packets to other machines go past the node's stack, straight to the uplink.
    pub host_routing: bool,
    /// Entries of `flows` and of `nat`.
    pub flow_table_size: u32,
}

/// The loaded programs, the pinned maps, and what is attached where.
///
/// Every method may be called from any thread. Those that change devices wait while others hold the kernel's rtnl
/// lock.
pub struct Datapath {
    attacher: Attacher,
    maps: Maps,
    flow_table_size: u32,
    counted_flows: Counted,
    counted_nat: Counted,
    granted: Mutex<Granted>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    programs: Programs,
    /// Device of each endpoint that this process attached, by the endpoint's number.
    attached: HashMap<u32, String>,
    /// What agents of other versions left; gone after the first sweep.
    others: Vec<Pins>,
    /// What else has programs; unknown until it is said for the first time.
    devices: Option<Devices>,
    /// Whether tables of another size lie aside until every program is swapped.
    carrying: bool,
    /// Whether every endpoint has been looked at.
    swept: bool,
    sockets: Sockets,
}

impl Datapath {
    /// Probes the kernel, loads the programs and opens or creates the pinned maps.
    ///
    /// # Errors
    /// What the system lacks, with its remedy; a pinned map of another shape; a program that the kernel refuses.
    pub fn load(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let method = probe::probe(&config.bpf_dir, config.attach)?;
        let pins = Pins::create(&config.bpf_dir)?;
        let others = pins.others(&config.bpf_dir)?;
        spec::check_pinned(&pins)?;
        carry::put_aside(&pins, config.flow_table_size)?;
        let (programs, maps) = Programs::load(&pins, config)?;
        let carrying = carry::copy(&pins)?;
        let attacher = Attacher { method, expedite: config.expedite.clone(), pins };
        let state = State {
            programs,
            attached: HashMap::new(),
            others,
            devices: None,
            carrying,
            swept: false,
            sockets: Sockets::default(),
        };
        let granted = Mutex::new(Granted::read(&maps)?);
        let datapath = Self {
            attacher,
            maps,
            flow_table_size: config.flow_table_size,
            counted_flows: Counted::unknown(),
            counted_nat: Counted::unknown(),
            granted,
            state: Mutex::new(state),
        };
        // Nobody listens to what an agent that was killed had asked for.
        datapath.trace(None)?;
        datapath.tell_ports(&datapath.state())?;
        Ok(datapath)
    }

    /// Writes the map entries of endpoints that an older agent attached.
    ///
    /// To be called before the first of them is attached again: with a new layout the maps are empty, and no pod may
    /// be unknown to the programs of another.
    ///
    /// # Errors
    /// The map is full, or cannot be written.
    pub fn publish(&self, live: &[Endpoint]) -> Result<(), DatapathError> {
        let state = self.state();
        live.iter().try_for_each(|endpoint| self.maps.write_pod(endpoint))?;
        // One that cannot be served is told of when it is attached.
        for endpoint in live {
            if let Err(error) = self.maps.write_ports(endpoint) {
                log::warn!("ports of endpoint {}: {error}", endpoint.id);
            }
        }
        self.tell_ports(&state)
    }

    /// Attaches both hooks to the endpoint's host interface and writes its map entries.
    ///
    /// Does what is missing and nothing else: on an endpoint that an older agent attached it replaces the programs
    /// in place. On failure nothing of this call stays.
    ///
    /// # Errors
    /// The device is gone or another one by now, the kernel refuses a program, or the map is full.
    pub fn attach(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let device = device(endpoint);
        // What cannot be served is refused before anything is done.
        ports::entries_of(endpoint)?;
        let mut state = self.state();
        let State { programs, others, attached, .. } = &mut *state;
        let fresh = self.attacher.attach(programs, others, device, Role::Pod)?;
        let written = self.write(endpoint);
        match written {
            Ok(()) => drop(attached.insert(endpoint.id, device.name.to_owned())),
            Err(_) => self.attacher.undo(&fresh, device),
        }
        written.and_then(|()| if endpoint.spec.ports.is_empty() { Ok(()) } else { self.tell_ports(&state) })
    }

    /// Removes the endpoint's map entries and hooks; what is gone already is no error.
    ///
    /// Cheapest after the device: it takes its programs along, so that the pod is never without them either.
    ///
    /// # Errors
    /// The first step that failed; the others are done all the same.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let device = device(endpoint);
        let mut state = self.state();
        // Nobody new comes to a pod that is going.
        let withdrawn = self.maps.erase_ports(endpoint);
        let told = if endpoint.spec.ports.is_empty() { Ok(()) } else { self.tell_ports(&state) };
        let erased = self.maps.erase_pod(endpoint);
        let unlinked = self.attacher.remove_links(&state.others, device.name, Role::Pod.hooks());
        let unfiltered = clsact::remove(Role::Pod.hooks(), device);
        state.attached.remove(&endpoint.id);
        withdrawn.and(told).and(erased).and(unlinked).and(unfiltered)
    }

    /// Compares hooks and map entries with the endpoint; the first difference is the error.
    ///
    /// # Errors
    /// The difference, or a call that failed.
    pub fn verify(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let device = device(endpoint);
        let state = self.state();
        for &hook in Role::Pod.hooks() {
            if !self.attacher.is_attached(&state.programs, hook, device)? {
                return Err(DatapathError::NotAttached { program: hook.name(), device: device.name.to_owned() });
            }
        }
        self.maps.verify_pod(endpoint)?;
        self.maps.verify_ports(endpoint)
    }

    /// Removes map entries and pinned links that belong to none of these endpoints; returns how many.
    ///
    /// What this process attached after the list was made stays, until it is detached.
    ///
    /// # Errors
    /// A map or a pin could not be read or removed; what was removed before stays so.
    pub fn sweep(&self, live: &[Endpoint]) -> Result<usize, DatapathError> {
        let mut state = self.state();
        let owners: HashSet<(Addr, u32)> = live
            .iter()
            .flat_map(|endpoint| pods::entries_of(endpoint).map(|(addr, pod)| (addr, pod.endpoint_id)))
            .collect();
        let mut removed = self.maps.retain_pods(|addr, pod| {
            owners.contains(&(*addr, pod.endpoint_id)) || state.attached.contains_key(&pod.endpoint_id)
        })?;

        let ports = live.iter().filter_map(|endpoint| ports::entries_of(endpoint).ok()).flatten();
        let ports: HashSet<(Target, u32)> = ports.map(|(target, port)| (target, port.endpoint_id)).collect();
        removed += self.maps.retain_ports(|target, port| {
            ports.contains(&(*target, port.endpoint_id)) || state.attached.contains_key(&port.endpoint_id)
        })?;
        self.tell_ports(&state)?;

        let devices: HashSet<&str> = live
            .iter()
            .map(|endpoint| endpoint.spec.host_ifname.as_str())
            .chain(state.attached.values().map(String::as_str))
            .collect();
        for pins in [&self.attacher.pins].into_iter().chain(&state.others) {
            for link in pins.pinned()? {
                // Those of other devices go when the devices are named: `set_devices`.
                if Role::of(link.hook) == Role::Pod && !devices.contains(link.device.as_str()) {
                    removed += usize::from(tcx::remove(&link.path, &self.attacher.expedite)?);
                }
            }
        }
        // A link that could not be carried over yet keeps its directory.
        state.swept = true;
        self.finish_carrying(&mut state)?;
        let mut outcome = Ok(removed);
        state.others.retain(|pins| match pins.pinned() {
            Ok(links) if links.is_empty() => match pins.remove() {
                Ok(()) => false,
                Err(error) => {
                    outcome = Err(error);
                    true
                }
            },
            Ok(_) => true,
            Err(error) => {
                outcome = Err(error);
                true
            }
        });
        outcome
    }

    /// Lets go of tables put aside, once no program uses them any more.
    fn finish_carrying(&self, state: &mut State) -> Result<(), DatapathError> {
        if state.carrying && state.swept && state.devices.is_some() {
            carry::finish(&self.attacher.pins)?;
            state.carrying = false;
        }
        Ok(())
    }

    /// Writes the endpoint's map entries: all of them, or none that were not there before.
    fn write(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        self.maps.write_pod(endpoint)?;
        let written = self.maps.write_ports(endpoint);
        if written.is_err() {
            self.maps.erase_pod(endpoint)?;
        }
        written
    }

    /// `tcx` or `clsact`.
    pub fn attach_name(&self) -> &'static str {
        match self.attacher.method {
            Method::Tcx => "tcx",
            Method::Clsact => "clsact",
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath").field("attacher", &self.attacher).finish_non_exhaustive()
    }
}

fn device(endpoint: &Endpoint) -> Device<'_> {
    Device { name: &endpoint.spec.host_ifname, index: endpoint.spec.host_ifindex }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attaching_may_happen_on_any_thread() {
        fn shared<T: Send + Sync>() {}
        shared::<Datapath>();
    }
}
