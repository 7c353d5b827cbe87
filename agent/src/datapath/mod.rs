//! The eBPF programs and their maps; the only user of aya.

mod error;

use std::path::PathBuf;

use weft_cni::api::{MapInfo, VerdictCount};

use crate::endpoint::Endpoint;

pub use error::DatapathError;

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
    /// Whether grace periods are hastened while programs are attached and devices removed.
    pub expedite_rcu: bool,
}

/// The loaded programs, the pinned maps, and what is attached where.
#[derive(Debug)]
pub struct Datapath {}

impl Datapath {
    /// Probes the kernel, loads the programs and opens or creates the pinned maps.
    pub fn load(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let _ = config;
        todo!()
    }

    /// Attaches both hooks to the endpoint's host interface and writes its map entries.
    ///
    /// Does what is missing and nothing else: on an endpoint that an older agent attached it replaces the programs
    /// in place. On failure nothing of this call stays.
    pub fn attach(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let _ = endpoint;
        todo!()
    }

    /// Removes the endpoint's map entries and hooks; what is gone already is no error.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let _ = endpoint;
        todo!()
    }

    /// Compares hooks and map entries with the endpoint; the first difference is the error.
    pub fn verify(&self, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let _ = endpoint;
        todo!()
    }

    /// Removes map entries and pinned links that belong to none of these endpoints; returns how many.
    pub fn sweep(&self, live: &[Endpoint]) -> Result<usize, DatapathError> {
        let _ = live;
        todo!()
    }

    /// `tcx` or `clsact`.
    pub fn attach_name(&self) -> &'static str {
        todo!()
    }

    /// Every map of ours.
    pub fn maps(&self) -> Result<Vec<MapInfo>, DatapathError> {
        todo!()
    }

    /// Entries of a map, one JSON object each, addresses as people write them; `None` for a map that is not ours.
    pub fn dump(&self, map: &str) -> Result<Option<Vec<serde_json::Value>>, DatapathError> {
        let _ = map;
        todo!()
    }

    /// Verdicts that were counted at least once, summed over the CPUs.
    pub fn verdicts(&self) -> Result<Vec<VerdictCount>, DatapathError> {
        todo!()
    }
}
