//! Debian's package manager.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use super::say;
use crate::process;

/// Whether this machine has apt.
pub(crate) fn is_here() -> bool {
    process::find("apt-get").is_some()
}

/// Whether the package lists know a package.
pub(crate) fn knows(package: &str) -> bool {
    process::output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
        .is_some_and(|text| !text.trim().is_empty())
}

/// Fetches the package lists.
pub(crate) fn update() -> Result<()> {
    say("updating", "package lists");
    process::run(Command::new("apt-get").args(["update", "-q"]).stdout(Stdio::null()).stdin(Stdio::null()))
}

/// Installs packages; without root, says what to type.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let command = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_here() {
        bail!("missing, and no apt-get to install it: {}", packages.join(" "));
    }
    if !geteuid().is_root() {
        bail!("packages are missing and only root can install them: run `sudo {command}`, then this again");
    }
    if !packages.iter().all(|package| knows(package)) {
        update()?;
    }
    say("installing", &packages.join(" "));
    process::run(
        Command::new("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .stdin(Stdio::null()),
    )
}
