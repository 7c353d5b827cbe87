//! Other kernels: Debian's packages of them, a machine in QEMU that runs our tests, and what it says of them.

mod exclusions;
mod kernel;
mod machine;
mod report;
mod suite;
mod tree;

use std::path::PathBuf;

use crate::workspace;

pub(crate) use kernel::{Kernel, SERIES};
pub(crate) use machine::boot;
pub(crate) use report::Report;
pub(crate) use suite::Suite;

/// Where kernels and the machines' output are kept.
fn dir() -> PathBuf {
    workspace::target_dir().join("vm")
}
