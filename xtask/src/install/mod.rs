//! What `setup` finds or installs.

mod apt;
mod packages;
mod toolchain;

pub(crate) use packages::{ensure_packages, ensure_vm_packages};
pub(crate) use toolchain::{ensure_cargo_deny, ensure_clippy, ensure_toolchain};

/// One line of the report: what is done about a thing.
#[expect(clippy::print_stderr, reason = "a person watches")]
pub(crate) fn say(what: &str, about: &str) {
    eprintln!("{what:>10}  {about}");
}
