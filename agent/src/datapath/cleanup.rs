//! Taking the datapath down without loading anything.

use std::fs;
use std::path::Path;

use super::attach::{clsact, tcx};
use super::hook::{Device, Role};
use super::pins::Pins;
use super::{DatapathError, cgroup, probe};
use crate::endpoint::Endpoint;
use crate::node::Expedite;

/// Takes our programs off every device, and removes every pin and directory of ours below `bpf_dir`. Goes on past
/// errors, and returns them all; what is gone already is no error.
pub fn cleanup(bpf_dir: &Path, endpoints: &[Endpoint], expedite: &Expedite) -> Vec<DatapathError> {
    let mut errors = remove_filters(endpoints);
    match probe::on_bpffs(bpf_dir) {
        Ok(true) => errors.extend(remove_pins(bpf_dir, expedite)),
        Ok(false) => {}
        Err(error) => errors.push(error),
    }
    errors
}

fn remove_filters(endpoints: &[Endpoint]) -> Vec<DatapathError> {
    let mut errors = Vec::new();
    let found = clsact::find(&[Role::Pod, Role::Uplink, Role::Overlay, Role::Shaper]).unwrap_or_else(|error| {
        errors.push(error);
        // The records know most of them.
        let device = |endpoint: &Endpoint| (endpoint.spec.host_ifname.clone(), (endpoint.spec.host_ifindex, Role::Pod));
        endpoints.iter().map(device).collect()
    });
    for (name, (index, role)) in &found {
        errors.extend(clsact::remove(role.hooks(), Device { name, index: *index }).err());
    }
    errors
}

fn remove_pins(bpf_dir: &Path, expedite: &Expedite) -> Vec<DatapathError> {
    let mut errors = Vec::new();
    let versions = Pins::all(bpf_dir).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    for pins in versions {
        match pins.pinned() {
            Ok(links) => errors.extend(links.iter().filter_map(|link| tcx::remove(&link.path, expedite).err())),
            Err(error) => errors.push(error),
        }
        errors.extend(cgroup::remove(&pins));
        errors.extend(pins.remove().err());
    }
    // Stays if it is a mount point or holds something of others.
    let _ = fs::remove_dir(bpf_dir);
    errors
}
