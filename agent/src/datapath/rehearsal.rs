//! Loading everything once without keeping any of it.

use std::time::{Duration, Instant};

use super::loader::Programs;
use super::{DatapathError, cgroup};

/// What the kernel says of the programs.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// Those of devices: how long it took to verify them.
    pub(crate) devices: Result<Duration, DatapathError>,
    /// Those of cgroups, once the others were taken.
    pub(crate) sockets: Result<(), DatapathError>,
}

/// Has the kernel take every program, and drops them; nothing is attached or pinned.
pub(crate) fn rehearse() -> Rehearsal {
    let begun = Instant::now();
    match Programs::rehearse() {
        Ok(mut programs) => {
            let devices = Ok(begun.elapsed());
            Rehearsal { devices, sockets: cgroup::rehearse(&mut programs) }
        }
        Err(error) => Rehearsal { devices: Err(error), sockets: Ok(()) },
    }
}
