//! `demo` and `bench`: programs of the tests crate, on the release binaries.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use super::{dist, setup};
use crate::{process, workspace};

/// Arguments that go on to the program.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Scenario {
    /// Arguments of the program itself; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl Scenario {
    pub(crate) fn args(&self) -> &[OsString] {
        &self.args
    }
}

/// Cargo's name of a profile and of its output directory.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// Built in a moment, shared with the tests.
    Dev,
    /// For what is measured.
    Release,
}

/// Sets up, builds, and becomes the program of that name.
pub(crate) fn run(name: &str, profile: Profile, scenario: &Scenario) -> Result<()> {
    setup::everything()?;
    let dist = dist::build()?;
    let (profile, directory) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Release => ("release", "release"),
    };
    process::run(process::cargo().args([
        "build",
        "--locked",
        "--profile",
        profile,
        "-p",
        "weft-tests",
        "--bin",
        name,
    ]))?;
    let program = workspace::target_dir().join(directory).join(name);
    // Becomes, not starts: Ctrl-C and the exit status are the program's own.
    let error = Command::new(&program).args(&scenario.args).env("WEFT_DIST", dist).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
