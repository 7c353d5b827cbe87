//! `lint-ebpf`: clippy on the programs, by the compiler that builds them.

use anyhow::{Context, Result};

use crate::{ebpf, process, workspace};

/// Fails at every warning, and where the compiler has no clippy.
pub(crate) fn run() -> Result<()> {
    let (compiler, _) = ebpf::installed_toolchain()?;
    let mut clippy = compiler
        .clippy()
        .with_context(|| format!("{} has no clippy: `cargo xtask setup --lint` installs it", compiler.version))?;
    let root = workspace::root();
    clippy.current_dir(&root).args(ebpf::ARGS).arg("--target-dir").arg(root.join("target/ebpf/clippy"));
    process::run(clippy.args(["--", "-D", "warnings"])).with_context(|| compiler.version)
}
