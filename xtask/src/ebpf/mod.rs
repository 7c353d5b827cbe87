//! The toolchain of the eBPF programs and what becomes of its output.

mod compiler;
mod debug_info;
mod linker;

use anyhow::{Context, Result};

pub(crate) use compiler::{Compiler, Origin};
pub(crate) use debug_info::strip;
pub(crate) use linker::Linker;

/// The compilation target of the programs: little-endian BPF.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// What cargo is told of the programs, whatever it does with them.
pub(crate) const ARGS: [&str; 9] =
    ["--locked", "--package", "weft-bpf", "--profile", "ebpf", "--target", TARGET, "-Z", "build-std=core"];

/// A compiler and a linker that fit each other: rustup's nightly first, then the distribution's rustc.
pub(crate) fn toolchain() -> Option<(Compiler, Linker)> {
    let linker = Linker::find()?;
    [Origin::Rustup, Origin::System]
        .into_iter()
        .filter_map(Compiler::find)
        .find(|compiler| linker.reads(compiler.llvm))
        .map(|compiler| (compiler, linker))
}

/// The same as [`toolchain`], for tasks that cannot go on without.
pub(crate) fn installed_toolchain() -> Result<(Compiler, Linker)> {
    toolchain()
        .context("no compiler for the eBPF programs here: `cargo xtask setup` says what is missing and installs it")
}
