//! The container image as a runtime takes it: imported by its name, and run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use weft_tests::cri::Containerd;
use weft_tests::netns::Netns;
use weft_tests::site::Site;
use weft_tests::{exec, need};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the archive of the tested binaries by the task that everybody uses.
fn image(dir: &Path, name: &str) -> Result<PathBuf> {
    let archive = dir.join(name);
    let mut task = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    task.current_dir(need::workspace())
        .args(["xtask", "image", "--output"])
        .arg(&archive)
        .env("WEFT_DIST", need::dist());
    let made = exec::output(&mut task, &[])?;
    ensure!(made.status.success(), "cargo xtask image: {}", made.complaint());
    Ok(archive)
}

#[test]
fn a_runtime_imports_the_image_and_runs_its_programs() -> Result<()> {
    let site = Site::of_tests()?;
    let netns = Netns::with_loopback(&site.unique("i"))?;
    let dir = site.dir().join("image");
    let conflist = json!({ "cniVersion": "1.0.0", "name": "none", "plugins": [{ "type": "loopback" }] });
    let mut containerd = Containerd::start(&site, &netns, &dir, &conflist, &[])?;
    let archive = image(&dir, "weft.tar")?;
    let again = image(&dir, "again.tar")?;
    ensure!(fs::read(&archive)? == fs::read(again)?, "the same binaries made other bytes");
    containerd.import(&archive)?;
    let name = format!("docker.io/library/weft:{VERSION}");
    let listed = containerd.ctr(&["images", "list", "--quiet"])?;
    ensure!(listed.lines().any(|line| line == name), "imported as something else than {name}: {listed}");

    for program in ["weft-agent", "weft"] {
        let run = ["run", "--rm", "--read-only", "--net-host", "--cpu-shares=0", &name, program, program, "--version"];
        assert_eq!(containerd.ctr(&run)?, format!("{program} {VERSION}\n"));
    }
    Ok(())
}
