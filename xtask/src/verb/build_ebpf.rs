//! `build-ebpf`: compiles the programs, links them with BTF and strips DWARF.

use std::fs;

use anyhow::{Context, Result};

use crate::ebpf::{self, Compiler, Linker};
use crate::{process, workspace};

/// Builds `target/ebpf/weft.o`; leaves the file alone when nothing changed in it.
pub(crate) fn run() -> Result<()> {
    let (compiler, linker) = ebpf::installed_toolchain()?;
    let root = workspace::root();
    let build = root.join("target/ebpf/build");
    let mut cargo = compiler.cargo();
    cargo
        .current_dir(&root)
        .arg("build")
        .args(ebpf::ARGS)
        .arg("--target-dir")
        .arg(&build)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&compiler, &linker));
    process::run(&mut cargo).with_context(|| format!("{} with {}", compiler.version, linker.version))?;

    let output = build.join(ebpf::TARGET).join("ebpf/weft");
    let elf = fs::read(&output).with_context(|| format!("cannot read {}", output.display()))?;
    let object = ebpf::strip(&elf)?;
    let path = workspace::ebpf_object();
    if fs::read(&path).is_ok_and(|old| old == object) {
        return Ok(());
    }
    // By rename: an agent that is being compiled beside us embeds the old object or the new one.
    let fresh = path.with_extension("o.new");
    fs::write(&fresh, &object).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, &path).with_context(|| format!("cannot rename {} to {}", fresh.display(), path.display()))
}

/// Flags of the programs alone.
fn rustflags(compiler: &Compiler, linker: &Linker) -> String {
    let [cargo, root] = workspace::unplaced();
    [
        format!("-Clinker={}", linker.path.display()),
        "-Clink-arg=--btf".to_owned(),
        // 32-bit arithmetic and jumps, which every kernel since 5.1 runs.
        "-Ctarget-cpu=v3".to_owned(),
        cargo,
        workspace::remap(compiler.sysroot(), "/rust"),
        root,
    ]
    .join("\x1f")
}
