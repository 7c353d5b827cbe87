//! `image`: the container image, made without a container engine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::dist;
use crate::image::{About, Binary, Image, NAME};
use crate::workspace;

/// Where it goes and for which machines it is.
#[derive(Args)]
pub(crate) struct ImageArgs {
    /// The archive: an OCI image layout in a tar file, which `ctr images import` and `docker load` take
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Target triple of its binaries, such as aarch64-unknown-linux-gnu [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Builds the binaries and puts them into an image; takes those that `WEFT_DIST` names as they are.
#[expect(clippy::print_stdout, reason = "the result of the task")]
pub(crate) fn run(args: &ImageArgs) -> Result<()> {
    let dir = match (&args.target, workspace::named()) {
        (Some(target), _) => dist::build_for(target)?,
        (None, Some(named)) => named,
        (None, None) => dist::build()?,
    };
    let binaries: Vec<_> = dist::names().map(|name| Binary::read(&dir.join(name))).collect::<Result<_>>()?;
    let version = env!("CARGO_PKG_VERSION");
    let about = About {
        version,
        description: "Network plugin for Kubernetes with an eBPF datapath",
        licenses: env!("CARGO_PKG_LICENSE"),
    };
    let image = Image::of(&binaries, &about)?;
    write(&args.output, &image.archive)?;
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let mib = image.archive.len() as f64 / f64::from(1 << 20);
    println!("{NAME}:{version} linux/{} {mib:.1} MiB {}", image.architecture, image.digest);
    println!("{}", args.output.display());
    Ok(())
}

/// By rename: a reader sees the old archive or the whole new one.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot rename {} to {}", fresh.display(), path.display()))
}
