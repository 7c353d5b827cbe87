//! The tasks, one a file.

pub(crate) mod build_ebpf;
pub(crate) mod dist;
pub(crate) mod e2e;
pub(crate) mod image;
pub(crate) mod lint_ebpf;
pub(crate) mod scenario;
pub(crate) mod setup;
pub(crate) mod test;
pub(crate) mod tidy;
pub(crate) mod vm_test;
