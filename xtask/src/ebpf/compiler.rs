//! The rustc that compiles the programs: it needs core's source and unstable features.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A cargo with its rustc, for a target that has no ready-made core.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// Who brought it.
    pub(crate) origin: Origin,
    /// First line of `rustc --version`.
    pub(crate) version: String,
    /// Major version of the LLVM inside.
    pub(crate) llvm: u32,
    sysroot: PathBuf,
}

/// Who brings a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// rustup's nightly.
    Rustup,
    /// The distribution: a stable rustc that is told to take unstable features.
    System,
}

impl Compiler {
    /// The compiler of that origin, if it is installed together with core's source.
    pub(crate) fn find(origin: Origin) -> Option<Self> {
        let sysroot = sysroot(origin)?;
        if !sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
            return None;
        }
        let verbose = process::output(Command::new(sysroot.join("bin/rustc")).arg("-vV"))?;
        let llvm = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        Some(Self {
            origin,
            version: verbose.lines().next()?.to_owned(),
            llvm: llvm.split('.').next()?.parse().ok()?,
            sysroot,
        })
    }

    /// Where rustc and core's source are.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// A cargo command that compiles with this rustc, whatever cargo runs this task.
    pub(crate) fn cargo(&self) -> Command {
        self.command("cargo")
    }

    /// A `cargo clippy` command with this rustc, if its clippy is installed.
    pub(crate) fn clippy(&self) -> Option<Command> {
        if !self.bin("cargo-clippy").exists() {
            return None;
        }
        // Not as a subcommand: cargo would look for it where rustup has the clippy of another compiler.
        let mut command = self.command("cargo-clippy");
        command.arg("clippy").env("CARGO", self.bin("cargo"));
        Some(command)
    }

    fn bin(&self, program: &str) -> PathBuf {
        self.sysroot.join("bin").join(program)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin(program));
        command.env("RUSTC", self.bin("rustc"));
        // Set by the cargo that runs this task or by its user, for other compilers than this one.
        for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        if self.origin == Origin::System {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

fn sysroot(origin: Origin) -> Option<PathBuf> {
    let rustc = match origin {
        Origin::Rustup => {
            process::output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))?.trim().into()
        }
        Origin::System => PathBuf::from("/usr/bin/rustc"),
    };
    rustc.ancestors().nth(2).map(Path::to_path_buf)
}
