//! Loads the programs, with the maps that are pinned already or new ones.

use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use aya::programs::{CgroupSockAddr, Program, ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfError, EbpfLoader};
use weft_abi::{Hook, global};

use super::maps::Maps;
use super::pins::Pins;
use super::spec::SPECS;
use super::{DatapathConfig, DatapathError, cgroup};

/// The programs' object, as `cargo xtask build-ebpf` made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_EBPF_OBJECT"));

/// Room enough in maps that nobody uses.
const FEW: u32 = 1024;

/// The loaded programs.
#[derive(Debug)]
pub(super) struct Programs {
    ebpf: Ebpf,
    ids: [u32; Hook::ALL.len()],
}

impl Programs {
    /// Loads the programs; missing maps are made and pinned.
    pub(super) fn load(pins: &Pins, config: &DatapathConfig) -> Result<(Self, Maps), DatapathError> {
        let overlay_port = u32::from(config.overlay_port.unwrap_or(0));
        let host_routing = u32::from(config.host_routing);
        // Without it no program is attached that asks for it.
        let netns_cookie = cgroup::netns_cookie().unwrap_or_default();
        let mut loader = EbpfLoader::new();
        // The loader has read the kernel's own BTF, some 10 MiB. The programs need no relocation by it: let go.
        loader.btf(None);
        for spec in &SPECS {
            loader.map_pin_path(spec.name, pins.map(spec.name));
            if spec.is_sized() {
                loader.map_max_entries(spec.name, config.flow_table_size);
            }
        }
        loader.override_global(global::OVERLAY_PORT, &overlay_port, true);
        loader.override_global(global::HOST_ROUTING, &host_routing, true);
        loader.override_global(global::NETNS_COOKIE, &netns_cookie, true);
        let mut ebpf = loader.load(OBJECT).map_err(of_object)?;
        let maps = Maps::open(&mut ebpf, pins)?;
        let mut programs = Self { ebpf, ids: [0; Hook::ALL.len()] };
        programs.verify()?;
        Ok((programs, maps))
    }

    /// Has the kernel take every program, with small maps of nobody's; all are gone when this is dropped.
    pub(super) fn rehearse() -> Result<Self, DatapathError> {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        for spec in SPECS.iter().filter(|spec| spec.is_sized()) {
            loader.map_max_entries(spec.name, FEW);
        }
        let mut programs = Self { ebpf: loader.load(OBJECT).map_err(of_object)?, ids: [0; Hook::ALL.len()] };
        programs.verify()?;
        Ok(programs)
    }

    /// Has the kernel verify every program, all at the same time: that is most of what a start takes.
    fn verify(&mut self) -> Result<(), DatapathError> {
        let ids = thread::scope(|scope| {
            let programs = self.ebpf.programs_mut().filter_map(|(name, program)| {
                let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name)?;
                Some((hook, scope.spawn(move || verify(hook, program))))
            });
            let running: Vec<_> = programs.collect();
            let incomplete = |hook: Hook| DatapathError::Incomplete { name: hook.name() };
            let join = |(hook, thread): (Hook, thread::ScopedJoinHandle<'_, _>)| {
                Ok((hook, thread.join().unwrap_or_else(|_| Err(incomplete(hook)))?))
            };
            running.into_iter().map(join).collect::<Result<Vec<_>, DatapathError>>()
        })?;
        for (hook, id) in ids {
            self.ids[hook as usize] = id;
        }
        match Hook::ALL.into_iter().find(|hook| self.id(*hook) == 0) {
            Some(hook) => Err(DatapathError::Incomplete { name: hook.name() }),
            None => Ok(()),
        }
    }

    /// The kernel's number for the hook's program.
    pub(super) fn id(&self, hook: Hook) -> u32 {
        self.ids[hook as usize]
    }

    /// The hook's program.
    pub(super) fn get(&mut self, hook: Hook) -> Result<&mut SchedClassifier, DatapathError> {
        let program = self.ebpf.program_mut(hook.name());
        program.and_then(|program| program.try_into().ok()).ok_or(DatapathError::Incomplete { name: hook.name() })
    }

    /// That program for cgroups, loaded.
    pub(super) fn for_cgroup(&mut self, name: &'static str) -> Result<&mut CgroupSockAddr, DatapathError> {
        let program: Option<&mut CgroupSockAddr> = self.ebpf.program_mut(name).and_then(|found| found.try_into().ok());
        let program = program.ok_or(DatapathError::Incomplete { name })?;
        if program.fd().is_err() {
            program.load().map_err(|error| refused(name, error))?;
        }
        Ok(program)
    }

    /// The file descriptor of the hook's program, which stays open.
    pub(super) fn fd(&mut self, hook: Hook) -> Result<i32, DatapathError> {
        let program = self.get(hook)?;
        Ok(program.fd().map_err(|error| refused(hook.name(), error))?.as_fd().as_raw_fd())
    }
}

/// Loads one program; the kernel's number for it.
fn verify(hook: Hook, program: &mut Program) -> Result<u32, DatapathError> {
    let incomplete = DatapathError::Incomplete { name: hook.name() };
    let program: &mut SchedClassifier = program.try_into().map_err(|_| incomplete)?;
    program.load().map_err(|error| refused(hook.name(), error))?;
    Ok(program.info().map_err(|error| refused(hook.name(), error))?.id())
}

fn of_object(error: EbpfError) -> DatapathError {
    DatapathError::Object(Box::new(error))
}

/// The verifier says a lot: all of it goes into the log, its conclusion into the error.
fn refused(program: &'static str, error: ProgramError) -> DatapathError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let words = verifier_log.to_string();
            log::debug!("verifier on {program}:\n{words}");
            let verdict = conclusion(&words).unwrap_or("the verifier said nothing").to_owned();
            DatapathError::Refused { program, verdict, source: io_error }
        }
        other => DatapathError::Object(Box::new(EbpfError::ProgramError(other))),
    }
}

/// The last line that is not about how much was verified.
fn conclusion(verifier_log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    let mut lines = verifier_log.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.rfind(|line| !STATISTICS.iter().any(|statistic| line.starts_with(statistic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conclusion_is_the_last_line_that_matters() {
        let log = "0: R1=ctx()\n1: (61) r0 = *(u32 *)(r1 +400)\ninvalid bpf_context access off=400 size=4\n\
                   verification time 12 usec\nstack depth 0\nprocessed 1 insns (limit 1000000)\n";
        assert_eq!(conclusion(log), Some("invalid bpf_context access off=400 size=4"));
        assert_eq!(conclusion(""), None);
    }
}
