//! What the tests need from the machine, each missing thing as one sentence.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Fails unless this process is root.
pub fn root() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "namespaces, veths and BPF need root: run the tests as root");
    Ok(())
}

/// Directory of the release binaries: `WEFT_DIST`, else `target/dist` of this workspace.
pub fn dist() -> PathBuf {
    env::var_os("WEFT_DIST").map_or_else(|| workspace().join("target/dist"), PathBuf::from)
}

/// The workspace's root directory.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// One of the release binaries.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = dist().join(name);
    ensure!(path.is_file(), "{} is missing: run `cargo xtask dist`", path.display());
    Ok(path)
}

/// A program of the machine, looked for in PATH and where Debian puts the administrator's.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("the program {name:?} is missing: run `cargo xtask setup`"))
}

/// Directory of Debian's reference plugins.
pub const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// One of Debian's reference plugins.
pub fn reference_plugin(name: &str) -> Result<PathBuf> {
    let path = Path::new(REFERENCE_PLUGINS).join(name);
    ensure!(path.is_file(), "the reference plugin {} is missing: run `cargo xtask setup`", path.display());
    Ok(path)
}
