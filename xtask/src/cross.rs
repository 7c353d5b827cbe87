//! Building for another processor: rustc's library for it, and a linker that knows it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Says what is missing to build for a target triple.
pub(crate) fn ensure(target: &str) -> Result<()> {
    let library = process::output(process::rustc().args(["--print", "target-libdir", "--target", target]))
        .with_context(|| format!("rustc knows no target {target}: `rustc --print target-list` lists them"))?;
    if !Path::new(library.trim_end()).exists() {
        bail!("rustc has no library for {target}: `rustup target add {target}` installs it");
    }
    if process::find(&compiler(target)).is_none() {
        bail!("{} is missing, which links for {target}: Debian's package is gcc-{}", compiler(target), suffix(target));
    }
    Ok(())
}

/// Names the C compiler and linker of another target, as cargo and build scripts ask for them.
pub(crate) fn configure(cargo: &mut Command, target: &str) {
    let name = target.replace('-', "_");
    cargo
        .env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), compiler(target))
        .env(format!("CC_{name}"), compiler(target));
}

/// GCC by the triple that Debian has for it, which knows no vendor.
fn compiler(target: &str) -> String {
    format!("{}-gcc", target.replace("-unknown-", "-"))
}

/// As in names of Debian's packages.
fn suffix(target: &str) -> String {
    target.replace("-unknown-", "-").replace('_', "-")
}
