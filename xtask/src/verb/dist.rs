//! `dist`: the release binaries, linked statically so that they run in any image.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::build_ebpf;
use crate::{cross, process, workspace};

/// Package and binary, in the order of the table.
const BINARIES: [(&str, &str); 3] = [("weft-cni", "weft-cni"), ("weft-agent", "weft-agent"), ("weft-agent", "weft")];

/// Builds the programs and the binaries into `target/dist`.
#[expect(clippy::print_stdout, reason = "the result of the task")]
pub(crate) fn run() -> Result<()> {
    build()?;
    let dir = workspace::dist();
    for (_, name) in BINARIES {
        let path = dir.join(name);
        let bytes = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let mib = bytes as f64 / f64::from(1 << 20);
        println!("{name:<12} {mib:>6.1} MiB  {}", path.display());
    }
    Ok(())
}

/// Builds, quietly where nothing changed; the directory of the binaries.
pub(crate) fn build() -> Result<PathBuf> {
    build_into(&host_target()?, workspace::dist(), |_| ())
}

/// The same for other machines, in a directory of their own.
pub(crate) fn build_for(target: &str) -> Result<PathBuf> {
    if target == host_target()? {
        return build();
    }
    cross::ensure(target)?;
    build_into(target, workspace::target_dir().join(target).join("dist"), |cargo| cross::configure(cargo, target))
}

/// The binaries' names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BINARIES.iter().map(|(_, name)| *name)
}

fn build_into(target: &str, dir: PathBuf, configure: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    build_ebpf::run()?;
    let [home, root] = workspace::unplaced();
    let mut cargo = process::cargo();
    configure(&mut cargo);
    // A target of its own keeps the flag away from build scripts and procedural macros, which must stay dynamic.
    cargo
        .args(["build", "--locked", "--release", "--target", target])
        .args(BINARIES.iter().flat_map(|(package, name)| ["--package", package, "--bin", name]))
        .env("CARGO_ENCODED_RUSTFLAGS", ["-Ctarget-feature=+crt-static", &home, &root].join("\x1f"));
    process::run(&mut cargo)?;

    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for (_, name) in BINARIES {
        let built = workspace::target_dir().join(target).join("release").join(name);
        let (fresh, path) = (dir.join(format!("{name}.new")), dir.join(name));
        // By rename: the old binary may be running.
        fs::copy(&built, &fresh).with_context(|| format!("cannot copy {}", built.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("cannot rename {}", fresh.display()))?;
    }
    Ok(dir)
}

/// The triple of this machine; a binary of it that is linked statically needs nothing of its image.
fn host_target() -> Result<String> {
    let verbose = process::output(process::rustc().arg("-vV")).context("cannot run `rustc -vV`")?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
