//! TCX: each hook is a link that is pinned, so that it outlives the agent and a new agent replaces its program.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, MultiProgLink, ProgramError};
use nix::errno::Errno;
use weft_abi::Hook;

use super::fdinfo;
use crate::datapath::error::is;
use crate::datapath::hook::{Device, attach_type};
use crate::datapath::loader::Programs;
use crate::datapath::pins::{Pins, unpin};
use crate::datapath::{DatapathError, plain};
use crate::node::Expedite;

/// A pinned link and what the kernel knows of it.
struct Found {
    link: SchedClassifierLink,
    target: Target,
}

/// What a link joins, as its `fdinfo` tells.
#[derive(Debug)]
struct Target {
    link: u64,
    program: u64,
    /// 0 once the device is gone.
    device: u64,
}

/// Lets a link that is pinned already, here or by another version, run our program; whether there was one.
///
/// A link whose device is gone, or is not this one, is removed.
pub(super) fn adopt(
    programs: &mut Programs,
    pins: &Pins,
    others: &[Pins],
    hook: Hook,
    device: Device,
    expedite: &Expedite,
) -> Result<bool, DatapathError> {
    let home = pins.link(device.name, hook);
    let elsewhere = others.iter().map(|pins| pins.link(device.name, hook));
    let places: Vec<PathBuf> = [home.clone()].into_iter().chain(elsewhere).collect();
    let mut adopted = None;
    for place in places {
        let Some(found) = open(&place)? else { continue };
        let link = found.target.link;
        if adopted == Some(link) {
            // An agent was killed between pinning it here and unpinning it there.
            unpin(&place)?;
        } else if adopted.is_some()
            || found.target.device != u64::from(device.index)
            || !replace(programs, &place, hook, device, found)?
        {
            remove(&place, expedite)?;
        } else {
            if place != home {
                pin(link_at(&place)?, &home)?;
                unpin(&place)?;
            }
            adopted = Some(link);
        }
    }
    Ok(adopted.is_some())
}

/// Attaches our program before all others, and pins the link.
pub(super) fn create(programs: &mut Programs, pins: &Pins, hook: Hook, device: Device) -> Result<(), DatapathError> {
    let failed = |source| DatapathError::Program {
        call: "BPF_LINK_CREATE",
        program: hook.name(),
        device: device.name.to_owned(),
        source: Box::new(source),
    };
    let path = pins.link(device.name, hook);
    let program = programs.get(hook)?;
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(device.name, attach_type(hook), order).map_err(failed)?;
    let link = take(programs, hook, id, &path)?;
    pin(FdLink::try_from(link).map_err(call("open", &path))?, &path)
}

/// Takes the link's program off its device, and removes the pin; whether there was one.
pub(in crate::datapath) fn remove(path: &Path, expedite: &Expedite) -> Result<bool, DatapathError> {
    // What cannot be opened as a link has nothing to be detached.
    if let Ok(Some(Found { link, target })) = open(path)
        && target.device != 0
    {
        let _window = expedite.window();
        let fd = link.fd().map_err(call("open", path))?;
        plain::detach(fd).map_err(|source| DatapathError::File {
            call: "BPF_LINK_DETACH",
            path: path.to_owned(),
            source,
        })?;
    }
    unpin(path)
}

/// Whether our program runs there by a pinned link.
pub(super) fn is_attached(program_id: u32, pins: &Pins, hook: Hook, device: Device) -> Result<bool, DatapathError> {
    let found = open(&pins.link(device.name, hook))?;
    Ok(found.is_some_and(|found| {
        found.target.program == u64::from(program_id) && found.target.device == u64::from(device.index)
    }))
}

/// Gives the link our program; false if its device went away meanwhile.
fn replace(
    programs: &mut Programs,
    place: &Path,
    hook: Hook,
    device: Device,
    found: Found,
) -> Result<bool, DatapathError> {
    if found.target.program == u64::from(programs.id(hook)) {
        return Ok(true);
    }
    match programs.get(hook)?.attach_to_link(found.link) {
        // Dropped right away: the pin holds the link.
        Ok(id) => take(programs, hook, id, place).map(|_| true),
        Err(ProgramError::SyscallError(error)) if is(&error, Errno::ENOLINK) => Ok(false),
        Err(source) => Err(DatapathError::Program {
            call: "BPF_LINK_UPDATE",
            program: hook.name(),
            device: device.name.to_owned(),
            source: Box::new(source),
        }),
    }
}

/// Takes the link away from the program, which would detach it at the agent's end.
fn take(
    programs: &mut Programs,
    hook: Hook,
    id: SchedClassifierLinkId,
    path: &Path,
) -> Result<SchedClassifierLink, DatapathError> {
    programs.get(hook)?.take_link(id).map_err(|_| call("take", path)(LinkError::InvalidLink))
}

fn open(path: &Path) -> Result<Option<Found>, DatapathError> {
    match PinnedLink::from_pin(path) {
        Ok(pinned) => {
            let link = SchedClassifierLink::try_from(FdLink::from(pinned)).map_err(call("open", path))?;
            let target = target(&link, path)?;
            Ok(Some(Found { link, target }))
        }
        Err(LinkError::SyscallError(error)) if is(&error, Errno::ENOENT) => Ok(None),
        Err(error) => Err(call("open", path)(error)),
    }
}

fn link_at(path: &Path) -> Result<FdLink, DatapathError> {
    PinnedLink::from_pin(path).map(FdLink::from).map_err(call("open", path))
}

fn pin(link: FdLink, path: &Path) -> Result<(), DatapathError> {
    link.pin(path).map(drop).map_err(|source| DatapathError::Pin { path: path.to_owned(), source })
}

fn target(link: &SchedClassifierLink, path: &Path) -> Result<Target, DatapathError> {
    let fd = link.fd().map_err(call("open", path))?.as_raw_fd();
    let [link, program, device] = fdinfo::read(fd, ["link_id", "prog_id", "ifindex"])?;
    Ok(Target { link, program, device })
}

fn call(call: &'static str, path: &Path) -> impl FnOnce(LinkError) -> DatapathError {
    let path = path.to_owned();
    move |source| DatapathError::Link { call, path, source }
}
