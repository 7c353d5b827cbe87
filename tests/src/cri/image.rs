//! An image without a registry: one static binary in a docker archive.
//!
//! <https://github.com/moby/docker-image-spec/blob/main/spec.md>

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{exec, need};

/// Name of the image that holds a pod's namespaces.
pub(super) const PAUSE: &str = "weft.test/pause:1";

/// Writes [`PAUSE`] as an archive below a directory.
pub(super) fn pause(dir: &Path) -> Result<PathBuf> {
    let files = dir.join("image");
    fs::create_dir_all(&files).context("make an image")?;
    let busybox = need::tool("busybox")?;
    let linked = exec::output(Command::new(need::tool("ldd")?).arg(&busybox), &[])?;
    ensure!(!linked.text().contains("=>"), "{} needs libraries: apt-get install busybox-static", busybox.display());
    // It is what it is called.
    fs::copy(busybox, files.join("sleep")).context("copy busybox")?;
    tar(&files, "layer.tar", &["sleep"])?;
    let digest = exec::tool("sha256sum", &[&files.join("layer.tar").to_string_lossy()])?;
    let digest = digest.split(' ').next().context("sha256sum said nothing")?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": ["/sleep", "2147483647"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"] }]);
    fs::write(files.join("config.json"), config.to_string()).context("describe an image")?;
    fs::write(files.join("manifest.json"), manifest.to_string()).context("list an image")?;
    tar(&files, "pause.tar", &["manifest.json", "config.json", "layer.tar"])?;
    Ok(files.join("pause.tar"))
}

fn tar(dir: &Path, archive: &str, members: &[&str]) -> Result<()> {
    let dir = dir.to_string_lossy();
    let fixed = ["-C", &dir, "--owner=0", "--group=0", "-cf"];
    let archive = format!("{dir}/{archive}");
    exec::tool("tar", &[&fixed[..], &[&archive], members].concat()).map(drop)
}

/// The machine's, in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
