//! An IPAM plugin for tests: a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

/// A directory with the plugin `fake`.
pub(crate) fn plugin(script: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fake");
    // Written by another process: a descriptor of ours that a parallel test's fork inherits would keep the file busy.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2""#, "sh", script]).arg(&path);
    assert!(shell.status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}
