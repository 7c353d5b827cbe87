//! `e2e`: user scenarios on a cluster that is there already.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::build_ebpf;
use super::scenario::Scenario;
use crate::{process, workspace};

/// Name of the program.
const NAME: &str = "weft-e2e";

/// Builds and becomes the program: nothing of this machine is set up, what is tested is elsewhere.
pub(crate) fn run(scenario: &Scenario) -> Result<()> {
    // The agent's library, whose words the scenarios use, embeds the programs.
    if !workspace::ebpf_object().is_file() {
        build_ebpf::run()?;
    }
    process::run(process::cargo().args(["build", "--locked", "-p", "weft-tests", "--bin", NAME]))?;
    let program = workspace::target_dir().join("debug").join(NAME);
    // Becomes, not starts: Ctrl-C, by which it cleans up, and the exit status are the program's own.
    let error = Command::new(&program).args(scenario.args()).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
