//! Programs onto devices and off again, by TCX or clsact, and from one to the other without a gap.

pub(super) mod clsact;
pub(super) mod fdinfo;
pub(super) mod tcx;

use nix::net::if_::if_nametoindex;
use weft_abi::Hook;

use super::DatapathError;
use super::hook::{Device, Role};
use super::loader::Programs;
use super::pins::Pins;
use super::probe::Method;
use crate::node::Expedite;

/// What attaching needs beside the programs.
#[derive(Debug)]
pub(super) struct Attacher {
    pub(super) method: Method,
    pub(super) expedite: Expedite,
    pub(super) pins: Pins,
}

impl Attacher {
    /// Attaches what is missing, puts the programs in the place of older ones, and takes away what the other method
    /// has left; the hooks that had nothing before.
    pub(super) fn attach(
        &self,
        programs: &mut Programs,
        others: &[Pins],
        device: Device,
        role: Role,
    ) -> Result<Vec<Hook>, DatapathError> {
        // The record knows the index, which may be another device's by now; aya goes by the name.
        if if_nametoindex(device.name) != Ok(device.index) {
            return Err(DatapathError::DeviceGone { device: device.name.to_owned(), ifindex: device.index });
        }
        let mut fresh = Vec::new();
        let attached = match self.method {
            Method::Tcx => self.attach_tcx(programs, others, device, role, &mut fresh),
            Method::Clsact => self.attach_clsact(programs, others, device, role, &mut fresh),
        };
        if attached.is_err() {
            self.undo(&fresh, device);
        }
        attached.map(|()| fresh)
    }

    /// Takes away the hooks that a call attached; it has failed already, so failing here is only told of.
    pub(super) fn undo(&self, fresh: &[Hook], device: Device) {
        let undone = match self.method {
            _ if fresh.is_empty() => Ok(()),
            Method::Tcx => self.remove_links(&[], device.name, fresh),
            Method::Clsact => clsact::remove(fresh, device),
        };
        if let Err(error) = undone {
            log::warn!("undoing a failed attachment to {}: {error}", device.name);
        }
    }

    /// Whether the hook's program runs on the device.
    pub(super) fn is_attached(&self, programs: &Programs, hook: Hook, device: Device) -> Result<bool, DatapathError> {
        match self.method {
            Method::Tcx => tcx::is_attached(programs.id(hook), &self.pins, hook, device),
            Method::Clsact => clsact::is_attached(programs.id(hook), hook, device),
        }
    }

    /// Whether every program of the role runs on the device.
    pub(super) fn is_whole(&self, programs: &Programs, device: Device, role: Role) -> Result<bool, DatapathError> {
        let attached = role.hooks().iter().map(|hook| self.is_attached(programs, *hook, device));
        Ok(attached.collect::<Result<Vec<_>, _>>()?.into_iter().all(|attached| attached))
    }

    /// Removes the device's pinned links, also those of other versions.
    pub(super) fn remove_links(&self, others: &[Pins], device: &str, hooks: &[Hook]) -> Result<(), DatapathError> {
        for pins in [&self.pins].into_iter().chain(others) {
            for hook in hooks {
                tcx::remove(&pins.link(device, *hook), &self.expedite)?;
            }
        }
        Ok(())
    }

    fn attach_tcx(
        &self,
        programs: &mut Programs,
        others: &[Pins],
        device: Device,
        role: Role,
        fresh: &mut Vec<Hook>,
    ) -> Result<(), DatapathError> {
        let mut missing = Vec::new();
        for &hook in role.hooks() {
            if !tcx::adopt(programs, &self.pins, others, hook, device, &self.expedite)? {
                missing.push(hook);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let window = self.expedite.window();
        for hook in missing {
            tcx::create(programs, &self.pins, hook, device)?;
            fresh.push(hook);
        }
        drop(window);
        // Two programs ran for a moment, which differs from one only in the counters.
        clsact::remove(role.hooks(), device)
    }

    fn attach_clsact(
        &self,
        programs: &mut Programs,
        others: &[Pins],
        device: Device,
        role: Role,
        fresh: &mut Vec<Hook>,
    ) -> Result<(), DatapathError> {
        let fds = role.hooks().iter().map(|hook| Ok((*hook, programs.fd(*hook)?)));
        clsact::ensure(&fds.collect::<Result<Vec<_>, DatapathError>>()?, device, fresh)?;
        self.remove_links(others, device.name, role.hooks())
    }
}
