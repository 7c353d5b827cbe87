//! Debian's kernels for virtual machines, found and fetched with an apt directory of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::exclusions::Version;
use crate::{install, process};

/// Series, and the suite in whose `linux-image-cloud-amd64` it is.
pub(crate) const SERIES: [(&str, &str); 4] =
    [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie"), ("6.18", "trixie-backports")];

/// Depends on the newest kernel of a suite.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Signs every suite.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel's package, unpacked.
pub(crate) struct Kernel {
    /// `6.12`
    pub(crate) series: &'static str,
    /// `6.12.107+deb13-cloud-amd64`, as uname says it.
    pub(crate) release: String,
    root: PathBuf,
}

impl Kernel {
    /// What an earlier run fetched, else what Debian has now.
    pub(crate) fn get(series: &str) -> Result<Self> {
        let known = SERIES.iter().find(|(known, _)| *known == series);
        let (series, suite) = known.with_context(|| format!("no Debian suite with kernel {series} is known here"))?;
        let root = super::dir().join("kernels").join(series);
        if !root.exists() {
            install::say("fetching", &format!("kernel {series} of Debian {suite}"));
            fetch(series, suite, &root)?;
        }
        let boot = root.join("boot").read_dir().with_context(|| format!("cannot list {}", root.display()))?;
        let mut names = boot.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let release = names.find_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
        let release = release.with_context(|| format!("no kernel in {}", root.display()))?;
        Ok(Self { series, release, root })
    }

    /// Its first two numbers.
    pub(crate) fn version(&self) -> Result<Version> {
        let (major, minor) = self.series.split_once('.').context("a series is two numbers")?;
        Ok((major.parse()?, minor.parse()?))
    }

    /// What boots.
    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The directory of its modules.
    pub(crate) fn modules(&self) -> Result<PathBuf> {
        let places = ["usr/lib/modules", "lib/modules"].map(|place| self.root.join(place).join(&self.release));
        places.into_iter().find(|place| place.is_dir()).context("the kernel has no modules")
    }
}

fn fetch(series: &str, suite: &str, root: &Path) -> Result<()> {
    let work = root.with_extension("fetching");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    for dir in ["apt/lists/partial", "apt/archives/partial", "root"] {
        fs::create_dir_all(work.join(dir)).with_context(|| format!("cannot make {dir} in {}", work.display()))?;
    }
    let apt = work.join("apt");
    let source = format!("deb [arch=amd64 signed-by={KEYRING}] {} {suite} main\n", mirror()?);
    fs::write(apt.join("sources.list"), source).context("cannot write sources.list")?;
    fs::write(apt.join("status"), "").context("cannot write apt's status")?;

    process::run(private("apt-get", &apt).args(["update", "-qq"]).stdout(Stdio::null()))?;
    let depends = process::output(private("apt-cache", &apt).args(["depends", PACKAGE]));
    let depends = depends.with_context(|| format!("{suite} has no package {PACKAGE}"))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| format!("{PACKAGE} of {suite} depends on no kernel"))?;
    ensure!(package.starts_with(&format!("linux-image-{series}.")), "{suite} has no kernel {series}, but {package}");

    process::run(private("apt-get", &apt).args(["download", "-qq", package]).current_dir(&work))?;
    let mut files = work.read_dir()?.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|kind| kind == "deb")).context("apt fetched nothing")?;
    process::run(Command::new("dpkg").arg("-x").arg(file).arg(work.join("root")))?;
    // By rename, last: what stands under that name is complete.
    fs::rename(work.join("root"), root).with_context(|| format!("cannot rename to {}", root.display()))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// The mirror that this machine's own sources name.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
    let targets = process::output(Command::new("apt-get").args(["indextargets", "--format", format]));
    let targets = targets.context("no apt-get: other kernels are Debian's packages")?;
    let mirror = targets.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    Ok(mirror.context("apt knows no Debian archive: run `apt-get update`")?.to_owned())
}

/// One of apt's programs that sees this directory's sources, lists and packages, and with them none of the machine's.
fn private(program: &str, apt: &Path) -> Command {
    let mut command = Command::new(program);
    let places = [("Etc::SourceList", "sources.list"), ("State", ""), ("State::status", "status"), ("Cache", "")];
    for (key, place) in places {
        command.arg("-o").arg(format!("Dir::{key}={}", apt.join(place).display()));
    }
    for none in ["SourceParts", "Preferences", "PreferencesParts"] {
        command.arg("-o").arg(format!("Dir::Etc::{none}=/dev/null"));
    }
    // The directory is ours, not apt's own user's.
    command.args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]);
    command
}
