//! What can go wrong between the agent and bpf(2).

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;
use aya::sys::SyscallError;
use nix::errno::Errno;

/// A call into the kernel's BPF failed, or it lacks something.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel lacks what a feature needs.
    #[error("{feature} needs kernel {needs} or newer, this one is {found}{remedy}")]
    KernelTooOld {
        /// What was asked for.
        feature: &'static str,
        /// The first kernel that has it.
        needs: &'static str,
        /// The running kernel's release.
        found: String,
        /// What to do instead; empty, or begins with a separator.
        remedy: &'static str,
    },
    /// bpf(2) is not there.
    #[error("this kernel is built without bpf(2): use one with CONFIG_BPF_SYSCALL=y")]
    BpfDisabled,
    /// The process may not do what it has to.
    #[error("weft-agent lacks {names}: run it as root, or grant them to its container")]
    MissingCapabilities {
        /// Their names, joined.
        names: String,
    },
    /// The capabilities are there, and yet the kernel refuses.
    #[error(
        "bpf(2) is forbidden although weft-agent has its capabilities: a seccomp profile or a security module stands \
         before it; run it with the profile Unconfined, or one that allows bpf"
    )]
    Forbidden,
    /// Processes of the node cannot be told apart.
    #[error(
        "there is no cgroup v2 hierarchy: mount one with `mount -t cgroup2 cgroup2 /sys/fs/cgroup`, or name it by --cgroup"
    )]
    NoCgroup,
    /// The directory for pins is elsewhere.
    #[error(
        "{path} is not on a BPF filesystem: mount one with `mount -t bpf bpffs /sys/fs/bpf`, or name a directory on \
         one with --bpf-dir"
    )]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be made.
    #[error("{path} cannot be made: a BPF filesystem allows no dot in a name, choose another --bpf-dir")]
    DotInName {
        /// The directory.
        path: PathBuf,
    },
    /// A limit is not what the endpoint's is.
    #[error("map rates has another {direction} limit for endpoint {endpoint}")]
    OtherRate {
        /// Number of the endpoint.
        endpoint: u32,
        /// Which of its limits.
        direction: &'static str,
    },
    /// The system did not answer a question about itself, or refused a limit.
    #[error("{call} failed")]
    System {
        /// What was called.
        call: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A directory or pin could not be made, read or removed.
    #[error("{call} {path} failed")]
    File {
        /// What was called.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The object inside the agent could not be loaded.
    #[error("the eBPF object cannot be loaded")]
    Object(#[source] Box<aya::EbpfError>),
    /// The object inside the agent lacks a part.
    #[error("the eBPF object has no {name}: build it anew with `cargo xtask build-ebpf`")]
    Incomplete {
        /// The program or map.
        name: &'static str,
    },
    /// The kernel refused a program.
    #[error("the kernel refuses program {program} ({verdict})")]
    Refused {
        /// Name of the program.
        program: &'static str,
        /// The last words of the verifier.
        verdict: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A pinned map is not the one that the programs use.
    #[error(
        "the map pinned at {path} has {what} {found} instead of {expected}: run `weft-agent cleanup` of the version \
         that made it, or remove the file"
    )]
    PinnedMap {
        /// The pin.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it is.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// A call on a map failed.
    #[error("{call} of map {map} failed")]
    Map {
        /// What was called.
        call: &'static str,
        /// Name of the map.
        map: &'static str,
        /// Why it failed.
        source: MapError,
    },
    /// A map is no table that could be read without taking something away.
    #[error("{map} is a stream and cannot be dumped: `weft drops` and `weft trace` show what there is to read")]
    Stream {
        /// Name of the map.
        map: &'static str,
    },
    /// The map has room for no more.
    #[error("map {map} is full ({entries} entries): this node has more of them than weft can serve")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its size.
        entries: u32,
    },
    /// A call on a program failed.
    #[error("{call} of program {program} on {device} failed")]
    Program {
        /// What was called.
        call: &'static str,
        /// Name of the program.
        program: &'static str,
        /// Name of the device.
        device: String,
        /// Why it failed.
        source: Box<ProgramError>,
    },
    /// A call on a pinned link failed.
    #[error("{call} of the link at {path} failed")]
    Link {
        /// What was called.
        call: &'static str,
        /// The pin.
        path: PathBuf,
        /// Why it failed.
        source: LinkError,
    },
    /// A link could not be pinned.
    #[error("pinning a link at {path} failed")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why it failed.
        source: PinError,
    },
    /// A traffic control request failed.
    #[error("{call} on {device} failed")]
    TrafficControl {
        /// The request.
        call: &'static str,
        /// Name of the device.
        device: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The device is gone, or its name is another one's by now.
    #[error("device {device} with ifindex {ifindex} is gone: the pod has to be added again")]
    DeviceGone {
        /// Name of the device.
        device: String,
        /// Index that it had.
        ifindex: u32,
    },
    /// A device lacks a program.
    #[error("program {program} is not attached to {device}")]
    NotAttached {
        /// Name of the program.
        program: &'static str,
        /// Name of the device.
        device: String,
    },
    /// A port of the node that a pod of other families cannot have.
    #[error("{port} is of a family that the pod has no address of: leave hostIP out, or give the pod one")]
    PortFamily {
        /// The mapping.
        port: String,
    },
    /// A port is missing in the map, or leads elsewhere.
    #[error("map ports does not lead from {port} to the pod")]
    NoPort {
        /// What is asked for.
        port: String,
    },
    /// The programs do not look for ports.
    #[error("map node says that no port of the node is a pod's")]
    PortsUnknown,
    /// A pod is missing in the map.
    #[error("map pods has no entry for {address}")]
    NoEntry {
        /// The pod's address.
        address: IpAddr,
    },
    /// The map has another pod for the address, or knows this one wrongly.
    #[error("map pods has another entry for {address} than the endpoint's")]
    OtherEntry {
        /// The pod's address.
        address: IpAddr,
    },
}

/// Whether the call failed with that error of the kernel's.
pub(super) fn is(error: &SyscallError, errno: Errno) -> bool {
    error.io_error.raw_os_error() == Some(errno as i32)
}
