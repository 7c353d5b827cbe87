//! The programs that the demo, the tests and the benchmarks run.

use std::path::Path;

use anyhow::Result;

use super::{apt, say};
use crate::process;

/// What must be there, and Debian's package that brings it: a program of `PATH`, or a file.
const NEEDED: [(&str, &str); 18] = [
    ("cc", "gcc"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("ping", "iputils-ping"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("bpftool", "bpftool"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("kubectl", "kubernetes-client"),
    ("/usr/lib/cni/host-local", "containernetworking-plugins"),
];

/// What machines with other kernels need besides.
const NEEDED_FOR_MACHINES: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("cpio", "cpio"),
    ("curl", "curl"),
    ("dash", "dash"),
    ("modprobe", "kmod"),
    ("strip", "binutils"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// Finds the programs that tests and demo run, or installs their packages.
pub(crate) fn ensure_packages() -> Result<()> {
    ensure(&NEEDED, "the programs that tests and demo run")
}

/// Finds the programs that boot other kernels, or installs their packages.
pub(crate) fn ensure_vm_packages() -> Result<()> {
    ensure(&NEEDED_FOR_MACHINES, "the programs that boot other kernels")
}

fn ensure(needed: &[(&str, &'static str)], what: &str) -> Result<()> {
    let mut missing: Vec<_> =
        needed.iter().filter(|(program, _)| !is_here(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        say("found", what);
        return Ok(());
    }
    apt::install(&missing)
}

fn is_here(program: &str) -> bool {
    if program.starts_with('/') { Path::new(program).exists() } else { process::find(program).is_some() }
}
