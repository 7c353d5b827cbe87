//! The real programs, run by the kernel on single packets (`BPF_PROG_TEST_RUN`): nothing is attached, nothing sent.

pub mod baseline;
mod context;
mod layout;
mod maps;
mod ports;
pub mod scene;
pub mod tunnel;
pub mod underlay;
pub mod wire;

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use aya::maps::RingBuf;
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use weft_abi::{Event, EventKind, Parked, Reason, global, map};

pub use context::{Beside, Skb};
pub use maps::Counts;
pub use weft_abi::Hook;

use crate::need;
use crate::netns::Netns;

use layout::Layout as _;

/// The device that the kernel takes for a packet of which nothing else is said: `lo`, whose MAC is all zero.
pub const IFINDEX: u32 = 1;

/// Room for what comes out: the largest packet that the kernel takes in fits a page.
const ROOM: usize = 8192;

/// UDP port of the overlay that the programs are loaded with.
pub const OVERLAY_PORT: u16 = 8472;

/// What a hook answers the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `TC_ACT_UNSPEC`: the next program, at last the stack.
    Next,
    /// `TC_ACT_SHOT`.
    Shot,
    /// `TC_ACT_REDIRECT`.
    Redirect,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict that was counted.
    pub reason: Reason,
    /// What the kernel was told.
    pub action: Action,
    /// The packet afterwards.
    pub bytes: Vec<u8>,
    /// The record of a drop, if it was one.
    pub event: Option<Event>,
    /// Records left because somebody traces the packet.
    pub traces: Vec<Event>,
}

/// The loaded programs with maps of their own, empty at first.
pub struct Programs {
    ebpf: Ebpf,
    events: RingBuf<aya::maps::MapData>,
    parked: RingBuf<aya::maps::MapData>,
    /// Whose devices, routes and sockets the programs see; those of the caller's thread if there is none.
    netns: Option<Netns>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Programs")
    }
}

impl Programs {
    /// Loads `target/ebpf/weft.o`, with overlay and without host routing.
    pub fn load() -> Result<Self> {
        Self::load_for(None, false)
    }

    /// Loads `target/ebpf/weft.o` to run inside a namespace.
    pub fn load_for(netns: Option<Netns>, host_routing: bool) -> Result<Self> {
        need::root()?;
        let object = need::workspace().join("target/ebpf/weft.o");
        ensure!(object.is_file(), "{} is missing: run `cargo xtask build-ebpf`", object.display());
        let (port, host_routing) = (u32::from(OVERLAY_PORT), u32::from(host_routing));
        // Nothing in the programs is relocated by the kernel's own types, and parsing those takes a while.
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global(global::OVERLAY_PORT, &port, true)
            .override_global(global::HOST_ROUTING, &host_routing, true)
            .load_file(&object)
            .context("load the maps")?;
        let events = RingBuf::try_from(ebpf.take_map(map::EVENTS).context("no map of events")?)?;
        let parked = RingBuf::try_from(ebpf.take_map(map::PARKED).context("no map of parked fragments")?)?;
        Ok(Self { ebpf, events, parked, netns })
    }

    /// The namespace that it runs in.
    pub fn netns(&self) -> Option<&Netns> {
        self.netns.as_ref()
    }

    /// Runs a hook on a packet; fails unless exactly one verdict was counted, with its bytes, and recorded if it is a
    /// drop.
    pub fn run(&mut self, hook: Hook, packet: impl Into<Skb>) -> Result<Outcome> {
        let packet = packet.into();
        let before = self.counts()?;
        let mut bytes = vec![0; ROOM];
        let program = classifier(&mut self.ebpf, hook)?;
        let mut test = || {
            program.test_run(TestRunOptions {
                data_in: Some(packet.bytes()),
                data_out: Some(&mut bytes),
                ctx_in: Some(&packet.context()),
                ..TestRunOptions::new()
            })
        };
        let result = match &self.netns {
            Some(netns) => netns.enter(test)?,
            None => test(),
        }?;
        bytes.truncate(usize::try_from(result.data_size_out)?);
        let action = action(result.return_value)?;

        let counted = self.counts()?.since(&before);
        let [(reason, counted_as, count)] = counted.as_slice() else { bail!("one packet was counted as {counted:?}") };
        let len = u64::try_from(packet.bytes().len())?;
        ensure!(*counted_as == hook.direction(), "{hook:?} counted {reason:?} as {counted_as:?}");
        ensure!((count.packets, count.bytes) == (1, len), "{len} bytes were counted as {count:?}");
        let mut records = Vec::new();
        while let Some(bytes) = self.events.next() {
            records.push(Event::from_bytes(&bytes)?);
        }
        let (mut drops, traces): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.kind == EventKind::Drop as u8);
        let event = drops.pop();
        ensure!(drops.is_empty(), "one packet left two records: {drops:?}");
        ensure!(event.is_some() == reason.is_drop(), "{reason:?} left {event:?}");
        ensure!((action == Action::Shot) == reason.is_drop(), "{reason:?} told the kernel {action:?}");
        Ok(Outcome { reason: *reason, action, bytes, event, traces })
    }

    /// Runs a hook on a packet that it may leave uncounted; what the kernel was told, and what is beside the packet then.
    pub fn pass(&mut self, hook: Hook, packet: impl Into<Skb>) -> Result<(Action, Beside)> {
        let packet = packet.into();
        let (mut bytes, mut context) = (vec![0; ROOM], [0; context::SIZE]);
        let result = classifier(&mut self.ebpf, hook)?.test_run(TestRunOptions {
            data_in: Some(packet.bytes()),
            data_out: Some(&mut bytes),
            ctx_in: Some(&packet.context()),
            ctx_out: Some(&mut context),
            ..TestRunOptions::new()
        })?;
        while self.events.next().is_some() {}
        Ok((action(result.return_value)?, Beside::read(&context)))
    }

    /// The fragments that were parked since the last call.
    pub fn parked(&mut self) -> Result<Vec<Parked>> {
        let mut parked = Vec::new();
        while let Some(bytes) = self.parked.next() {
            parked.push(Parked::from_bytes(&bytes)?);
        }
        Ok(parked)
    }

    /// Nanoseconds of one run, the mean of many on the same packet, which the hook must leave as it finds it.
    pub fn time(&mut self, hook: Hook, packet: impl Into<Skb>, repeat: u32) -> Result<u128> {
        let packet = packet.into();
        let program = classifier(&mut self.ebpf, hook)?;
        let test = || {
            program.test_run(TestRunOptions {
                data_in: Some(packet.bytes()),
                ctx_in: Some(&packet.context()),
                repeat,
                ..TestRunOptions::new()
            })
        };
        let result = match &self.netns {
            Some(netns) => netns.enter(test)?,
            None => test(),
        }?;
        Ok(result.duration.as_nanos())
    }
}

/// A hook's program; loaded when it is first asked for, as the kernel takes its time to verify one.
fn classifier(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier> {
    let program = ebpf.program_mut(hook.name()).with_context(|| format!("no program {}", hook.name()))?;
    let program: &mut SchedClassifier = program.try_into()?;
    if program.fd().is_err() {
        let loaded = program.load();
        if let Err(ProgramError::LoadError { verifier_log, io_error }) = &loaded {
            bail!("{io_error}: {hook:?} is refused: {verifier_log}");
        }
        loaded.with_context(|| format!("load {hook:?}"))?;
    }
    Ok(program)
}

fn action(value: u32) -> Result<Action> {
    Ok(match value {
        u32::MAX => Action::Next,
        2 => Action::Shot,
        7 => Action::Redirect,
        other => bail!("a hook answered {other}"),
    })
}
