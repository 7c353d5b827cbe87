//! `setup`: finds or installs everything that building, the demo and the tests need.

use anyhow::Result;
use clap::Args;

use crate::install;

/// What to set up.
#[derive(Args)]
pub(crate) struct Setup {
    /// Also the linters: cargo-deny, and clippy for the eBPF programs
    #[arg(long)]
    lint: bool,
    /// Also what boots other kernels, for `vm-test`
    #[arg(long)]
    vm: bool,
}

/// Says what it finds and what it installs; does nothing where all is there.
pub(crate) fn run(setup: &Setup) -> Result<()> {
    everything()?;
    if setup.lint {
        install::ensure_cargo_deny()?;
        install::ensure_clippy()?;
    }
    if setup.vm {
        install::ensure_vm_packages()?;
    }
    Ok(())
}

/// What building, the demo and the tests need.
pub(crate) fn everything() -> Result<()> {
    install::ensure_packages()?;
    install::ensure_toolchain()
}
