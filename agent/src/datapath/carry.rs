//! Another size for the tables of flows, without forgetting a flow.
//!
//! A map cannot grow. The old one is put aside under another name, a new one is made in its place, and what the old
//! one holds is copied before the first program uses the new one. Until the last program is swapped the old programs
//! go on writing into the old map, so it is copied once more at the end: a flow that begins in these milliseconds may
//! meet a program that does not know it yet. Where the new map is smaller, the kernel forgets what was used least.

use std::fs;

use weft_abi::{Flow, Nat, Plain, Tuple, map};

use super::maps::of;
use super::pins::{Pins, unpin};
use super::plain::{Put, Table};
use super::spec::SPECS;
use super::{DatapathError, maps};

/// Where the old map of that name is pinned meanwhile.
fn aside(name: &'static str) -> &'static str {
    if name == map::FLOWS { "flows_old" } else { "nat_old" }
}

/// Puts aside the tables that have another size than they should.
pub(super) fn put_aside(pins: &Pins, size: u32) -> Result<(), DatapathError> {
    for spec in SPECS.iter().filter(|spec| spec.is_sized()) {
        let (place, old) = (pins.map(spec.name), pins.map(aside(spec.name)));
        let found = spec.pinned(&place)?;
        if found.is_none_or(|info| info.max_entries() == size) {
            continue;
        }
        if spec.pinned(&old)?.is_some() {
            // An agent was killed over it.
            copy(pins)?;
        }
        fs::rename(&place, &old).map_err(|source| DatapathError::File { call: "rename", path: place, source })?;
    }
    Ok(())
}

/// Copies what the tables put aside hold and the new ones have not; whether there were any.
pub(super) fn copy(pins: &Pins) -> Result<bool, DatapathError> {
    let flows = copy_one::<Flow>(pins, map::FLOWS)?;
    let nat = copy_one::<Nat>(pins, map::NAT)?;
    Ok(flows || nat)
}

/// Copies once more, and lets go of the tables put aside.
pub(super) fn finish(pins: &Pins) -> Result<(), DatapathError> {
    copy(pins)?;
    for name in [map::FLOWS, map::NAT] {
        unpin(&pins.map(aside(name)))?;
    }
    Ok(())
}

fn copy_one<V: Plain>(pins: &Pins, name: &'static str) -> Result<bool, DatapathError> {
    if !pins.map(aside(name)).exists() {
        return Ok(false);
    }
    let from: Table<Tuple, V> = maps::open(pins, aside(name))?;
    let to: Table<Tuple, V> = maps::open(pins, name)?;
    let mut outcome = Ok(());
    let mut count = 0_u64;
    let copied = from.visit(|keys, values| {
        for (key, value) in keys.iter().zip(values) {
            if outcome.is_ok() {
                outcome = to.put(key, value, Put::New).map(|new| count += u64::from(new));
            }
        }
    });
    copied.map_err(of("iterate", name))?;
    outcome.map_err(of("update", name))?;
    log::info!("{count} entries of {name} carried over into a table of another size");
    Ok(true)
}
