//! The real programs, run by the kernel on single packets (`BPF_PROG_TEST_RUN`): nothing is attached, nothing sent.

pub mod baseline;
mod context;
mod maps;
pub mod scene;
pub mod wire;

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use aya::maps::RingBuf;
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use weft_abi::{Direction, Event, Reason, map};

pub use context::Skb;
pub use maps::Counts;

use crate::need;

/// The device that the kernel takes for a packet of which nothing else is said: `lo`, whose MAC is all zero.
pub const IFINDEX: u32 = 1;

/// Room for what comes out: the largest packet that the kernel takes in fits a page.
const ROOM: usize = 8192;

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the pod sends.
    FromPod,
    /// What the node sends to the pod.
    ToPod,
}

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
    /// The record, if one was left.
    pub event: Option<Event>,
}

/// The loaded programs with maps of their own, empty at first.
pub struct Programs {
    ebpf: Ebpf,
    events: RingBuf<aya::maps::MapData>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Programs")
    }
}

impl Hook {
    fn program(self) -> &'static str {
        match self {
            Self::FromPod => weft_abi::Hook::FromPod.name(),
            Self::ToPod => weft_abi::Hook::ToPod.name(),
        }
    }

    /// The direction that it counts in.
    pub fn direction(self) -> Direction {
        match self {
            Self::FromPod => Direction::Egress,
            Self::ToPod => Direction::Ingress,
        }
    }
}

impl Programs {
    /// Loads `target/ebpf/weft.o`.
    pub fn load() -> Result<Self> {
        need::root()?;
        let object = need::workspace().join("target/ebpf/weft.o");
        ensure!(object.is_file(), "{} is missing: run `cargo xtask build-ebpf`", object.display());
        // Nothing in the programs is relocated by the kernel's own types, and parsing those takes a while.
        let mut ebpf = EbpfLoader::new().btf(None).load_file(&object).context("load the maps")?;
        for hook in [Hook::FromPod, Hook::ToPod] {
            let loaded = classifier(&mut ebpf, hook)?.load();
            if let Err(ProgramError::LoadError { verifier_log, io_error }) = &loaded {
                bail!("{io_error}: {hook:?} is refused: {verifier_log}");
            }
            loaded.with_context(|| format!("load {hook:?}"))?;
        }
        let events = RingBuf::try_from(ebpf.take_map(map::EVENTS).context("no map of events")?)?;
        Ok(Self { ebpf, events })
    }

    /// Runs a hook on a packet; fails unless exactly one verdict was counted, with its bytes, and recorded if it is a
    /// drop.
    pub fn run(&mut self, hook: Hook, packet: impl Into<Skb>) -> Result<Outcome> {
        let packet = packet.into();
        let before = self.counts()?;
        let mut bytes = vec![0; ROOM];
        let result = classifier(&mut self.ebpf, hook)?.test_run(TestRunOptions {
            data_in: Some(packet.bytes()),
            data_out: Some(&mut bytes),
            ctx_in: Some(&packet.context()),
            ..TestRunOptions::new()
        })?;
        bytes.truncate(usize::try_from(result.data_size_out)?);
        let action = action(result.return_value)?;

        let counted = self.counts()?.since(&before);
        let [(reason, direction, count)] = counted.as_slice() else { bail!("one packet was counted as {counted:?}") };
        let len = u64::try_from(packet.bytes().len())?;
        ensure!(*direction == hook.direction(), "{hook:?} counted {reason:?} as {direction:?}");
        ensure!((count.packets, count.bytes) == (1, len), "{len} bytes were counted as {count:?}");
        let event = self.events.next().map(|bytes| maps::event(&bytes)).transpose()?;
        ensure!(self.events.next().is_none(), "one packet left two records");
        ensure!(event.is_some() == reason.is_drop(), "{reason:?} left {event:?}");
        ensure!((action == Action::Shot) == reason.is_drop(), "{reason:?} told the kernel {action:?}");
        Ok(Outcome { reason: *reason, action, bytes, event })
    }

    /// Nanoseconds of one run, the mean of many on the same packet, which the hook must leave as it finds it.
    pub fn time(&mut self, hook: Hook, packet: impl Into<Skb>, repeat: u32) -> Result<u128> {
        let packet = packet.into();
        let result = classifier(&mut self.ebpf, hook)?.test_run(TestRunOptions {
            data_in: Some(packet.bytes()),
            ctx_in: Some(&packet.context()),
            repeat,
            ..TestRunOptions::new()
        })?;
        Ok(result.duration.as_nanos())
    }
}

fn classifier(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier> {
    let program = ebpf.program_mut(hook.program()).with_context(|| format!("no program {}", hook.program()))?;
    Ok(program.try_into()?)
}

fn action(value: u32) -> Result<Action> {
    Ok(match value {
        u32::MAX => Action::Next,
        2 => Action::Shot,
        7 => Action::Redirect,
        other => bail!("a hook answered {other}"),
    })
}
