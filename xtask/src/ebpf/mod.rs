//! The toolchain of the eBPF programs and what becomes of its output.

mod compiler;
mod debug_info;
mod linker;

pub(crate) use compiler::{Compiler, Origin};
pub(crate) use debug_info::strip;
pub(crate) use linker::Linker;

/// The compilation target of the programs: little-endian BPF.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A compiler and a linker that fit each other: rustup's nightly first, then the distribution's rustc.
pub(crate) fn toolchain() -> Option<(Compiler, Linker)> {
    let linker = Linker::find()?;
    [Origin::Rustup, Origin::System]
        .into_iter()
        .filter_map(Compiler::find)
        .find(|compiler| linker.reads(compiler.llvm))
        .map(|compiler| (compiler, linker))
}
