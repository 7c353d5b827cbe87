//! Where things are in this checkout.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout's top directory.
pub(crate) fn root() -> PathBuf {
    // Cargo's own answer at run time; the one of compile time is another checkout's where they share a target directory.
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map(Path::to_path_buf).unwrap_or(xtask)
}

/// The programs as the agent embeds them and the tests load them.
pub(crate) fn ebpf_object() -> PathBuf {
    root().join("target/ebpf/weft.o")
}

/// Where the release binaries are collected.
pub(crate) fn dist() -> PathBuf {
    root().join("target/dist")
}

/// Whose binaries are tested: `WEFT_DIST`, as the tests themselves understand it, else the release's.
pub(crate) fn tested() -> PathBuf {
    named().unwrap_or_else(dist)
}

/// The directory of binaries that `WEFT_DIST` names.
pub(crate) fn named() -> Option<PathBuf> {
    env::var_os("WEFT_DIST").map(PathBuf::from)
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The directory of cargo's own files: installed binaries and the registry.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// Flags for rustc that take this machine's paths out of what it builds: all machines build the same.
pub(crate) fn unplaced() -> [String; 2] {
    [(cargo_home(), "/cargo"), (root(), "/weft")].map(|(from, to)| remap(&from, to))
}

/// Has rustc write one path for another.
pub(crate) fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from)
}
