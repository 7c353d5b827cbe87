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

/// Sets up, builds, and becomes the program of that name.
pub(crate) fn run(name: &str, scenario: &Scenario) -> Result<()> {
    setup::everything()?;
    let dist = dist::build()?;
    process::run(process::cargo().args(["build", "--locked", "--release", "--package", "weft-tests", "--bin", name]))?;
    let program = workspace::target_dir().join("release").join(name);
    // Becomes, not starts: Ctrl-C and the exit status are the program's own.
    let error = Command::new(&program).args(&scenario.args).env("WEFT_DIST", dist).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
