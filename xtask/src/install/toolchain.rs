//! The compiler and the linker of the eBPF programs, their linter and that of dependencies.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{apt, say};
use crate::ebpf::{self, Compiler, Linker, Origin};
use crate::process;

/// Debian's rustc with core's source.
const SYSTEM_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The clippy of that rustc.
const SYSTEM_CLIPPY: &str = "rust-web-clippy";

/// Finds a compiler with core's source and a linker that reads its output, or installs them.
pub(crate) fn ensure_toolchain() -> Result<()> {
    if let Some((compiler, linker)) = ebpf::toolchain() {
        say("found", &format!("{} with core's source", compiler.version));
        say("found", &linker.version);
        return Ok(());
    }
    let compiler = ensure_compiler()?;
    say("found", &format!("{} with core's source", compiler.version));
    install_linker(&compiler)?;
    if ebpf::toolchain().is_none() {
        bail!("bpf-linker is installed, but does not run or does not read the output of {}", compiler.version);
    }
    Ok(())
}

/// Finds cargo-deny or installs it.
pub(crate) fn ensure_cargo_deny() -> Result<()> {
    if process::find("cargo-deny").is_some() {
        say("found", "cargo-deny");
        return Ok(());
    }
    say("installing", "cargo-deny (takes a few minutes)");
    process::run(process::cargo().args(["install", "--quiet", "--locked", "cargo-deny"]))
}

/// Finds the clippy of the programs' compiler or installs it.
pub(crate) fn ensure_clippy() -> Result<()> {
    let (compiler, _) = ebpf::installed_toolchain()?;
    let whose = format!("clippy of {}", compiler.version);
    if compiler.clippy().is_none() {
        say("installing", &whose);
        match compiler.origin {
            Origin::Rustup => {
                process::run(Command::new("rustup").args(["component", "add", "clippy", "--toolchain", "nightly"]))?;
            }
            Origin::System => apt::install(&[SYSTEM_CLIPPY])?,
        }
        if compiler.clippy().is_none() {
            bail!("the {whose} is installed, but not beside that compiler in {}", compiler.sysroot().display());
        }
    }
    say("found", &whose);
    Ok(())
}

fn ensure_compiler() -> Result<Compiler> {
    let present = [Origin::Rustup, Origin::System].into_iter().find_map(Compiler::find);
    present.or_else(add_to_rustup).map_or_else(install_system_rust, Ok)
}

/// Adds what rustup lacks; `None` where there is no rustup or it cannot download.
fn add_to_rustup() -> Option<Compiler> {
    process::find("rustup")?;
    say("installing", "nightly with rust-src, by rustup");
    let quietly = |args: &[&str]| {
        let status = Command::new("rustup").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let added = quietly(&["component", "add", "rust-src", "--toolchain", "nightly"])
        || quietly(&["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    if !added {
        say("no", "rustup cannot download nightly's rust-src here");
    }
    Compiler::find(Origin::Rustup)
}

fn install_system_rust() -> Result<Compiler> {
    if !apt::is_here() {
        bail!(
            "no compiler for the eBPF programs: install rustup and run `rustup toolchain install nightly --component \
             rust-src`, or use a Debian machine, whose packages {} will do",
            SYSTEM_RUST.join(", ")
        );
    }
    apt::install(&SYSTEM_RUST).context(
        "rustup has no nightly with rust-src, and Debian's rustc cannot be installed; either of them is needed",
    )?;
    Compiler::find(Origin::System).context("Debian's rustc is installed, but without core's source: see rust-web-src")
}

/// Installs bpf-linker against the LLVM of the compiler.
fn install_linker(compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm;
    let prefix = ensure_llvm(llvm)?;
    say("installing", &format!("bpf-linker {} for LLVM {llvm} (takes a minute)", Linker::VERSION));
    let mut cargo = process::cargo();
    cargo
        .args(["install", "--quiet", "--locked", "--force", "bpf-linker", "--version", Linker::VERSION])
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
        // Both: the bindings look for the one, the linker's own build script for the other.
        .env("LLVM_PREFIX", &prefix)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix);
    process::run(&mut cargo)
}

/// The directory of that LLVM's libraries and headers.
fn ensure_llvm(llvm: u32) -> Result<PathBuf> {
    let prefix = Path::new("/usr/lib").join(format!("llvm-{llvm}"));
    if !prefix.join("include/llvm-c/Core.h").exists() {
        let dev = format!("llvm-{llvm}-dev");
        let polly = format!("libpolly-{llvm}-dev");
        apt::install(&[&dev, &polly, "libzstd-dev", "zlib1g-dev"]).with_context(|| {
            format!("bpf-linker needs LLVM {llvm}, as the compiler has; install it, or a bpf-linker with LLVM inside")
        })?;
    }
    Ok(prefix)
}
