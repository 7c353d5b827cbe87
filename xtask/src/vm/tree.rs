//! The machine's file system: a directory with everything in it, packed into one archive.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Kernel, Suite};
use crate::{process, workspace};

/// Programs that the tests run, by name or place; busybox stands in for the rest.
const PROGRAMS: [&str; 29] = [
    "ip",
    "tc",
    "ss",
    "bpftool",
    "ping",
    "ethtool",
    "iptables",
    "ip6tables",
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
    "nft",
    "nsenter",
    "setpriv",
    "mount",
    "umount",
    "modprobe",
    "curl",
    "dash",
    "timeout",
    "stty",
    "/usr/lib/cni/host-local",
    "/usr/lib/cni/static",
    "/usr/lib/cni/bridge",
    "/usr/lib/cni/ptp",
    "/usr/lib/cni/loopback",
    "/usr/lib/cni/portmap",
    "/usr/lib/cni/bandwidth",
];

/// iptables opens these by name.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";

/// Modules that networking asks for; the kernel loads them by itself.
const MODULES: [&str; 5] = ["net", "lib", "crypto", "arch", "drivers/net"];

/// The first process.
const INIT: &str = include_str!("init.sh");

/// Lays out what the kernel and its tests need and packs it.
pub(crate) fn pack(root: &Path, kernel: &Kernel, suite: &Suite, archive: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let tree = Tree { root };
    tree.frame()?;
    tree.programs()?;
    tree.modules(kernel)?;
    tree.ours(suite)?;
    let out = File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let pack = "find . | cpio --quiet --create --format=newc --owner=+0:+0";
    process::run(Command::new("sh").args(["-c", pack]).current_dir(root).stdout(out))?;
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))
}

struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    /// Directories, and the links of a merged /usr.
    fn frame(&self) -> Result<()> {
        for dir in ["dev", "proc", "sys", "run", "tmp", "root", "etc", "var", "weft"] {
            self.dir(dir)?;
        }
        for dir in ["bin", "sbin", "lib", "lib64"] {
            self.dir(Path::new("usr").join(dir))?;
            self.link(Path::new("usr").join(dir), dir)?;
        }
        self.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n")?;
        self.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        self.write("init", INIT)?;
        process::run(Command::new("chmod").arg("755").arg(self.root.join("init")))
    }

    /// Programs of this machine with their libraries, and busybox under the names that are left.
    fn programs(&self) -> Result<()> {
        for name in PROGRAMS {
            self.program(
                &process::find(name).with_context(|| format!("{name} is missing: run `cargo xtask setup --vm`"))?,
            )?;
        }
        let extensions = Path::new(EXTENSIONS).read_dir().with_context(|| format!("cannot list {EXTENSIONS}"))?;
        for extension in extensions.flatten() {
            self.copy(&extension.path(), &extension.path())?;
        }
        let busybox = process::find("busybox").context("busybox is missing")?;
        self.copy(&busybox, Path::new("/usr/bin/busybox"))?;
        let applets = process::output(Command::new(&busybox).arg("--list")).context("busybox lists no applets")?;
        // Its own shell would prefer its applets to the programs above.
        self.link("dash", "usr/bin/sh")?;
        for applet in applets.lines() {
            if !["usr/bin", "usr/sbin"].iter().any(|dir| self.root.join(dir).join(applet).symlink_metadata().is_ok()) {
                self.link("busybox", Path::new("usr/bin").join(applet))?;
            }
        }
        Ok(())
    }

    fn modules(&self, kernel: &Kernel) -> Result<()> {
        let (from, to) = (kernel.modules()?, self.root.join("usr/lib/modules").join(&kernel.release));
        for part in MODULES {
            let target = to.join("kernel").join(part);
            fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
            process::run(Command::new("cp").arg("-r").arg(from.join("kernel").join(part).join(".")).arg(target))?;
        }
        for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            fs::copy(from.join(list), to.join(list)).with_context(|| format!("cannot copy {list}"))?;
        }
        let depmod = process::find("depmod").context("depmod is missing")?;
        process::run(Command::new(depmod).arg("-b").arg(self.root).arg(&kernel.release))
    }

    /// Tests, binaries and files of the checkout, these at the places that they have here.
    fn ours(&self, suite: &Suite) -> Result<()> {
        self.write("weft/plan", &suite.plan())?;
        for program in &suite.programs {
            self.stripped(&program.file, &Path::new("/weft").join(&program.name))?;
        }
        let object = workspace::ebpf_object();
        self.copy(&object, &object)?;
        for name in ["weft-agent", "weft-cni", "weft"] {
            self.stripped(&workspace::tested().join(name), &workspace::dist().join(name))?;
        }
        let deploy = workspace::root().join("deploy");
        self.dir(workspace::root().strip_prefix("/")?)?;
        process::run(Command::new("cp").arg("-r").arg(&deploy).arg(self.root.join(deploy.strip_prefix("/")?)))
    }

    fn program(&self, path: &Path) -> Result<()> {
        self.copy(path, path)?;
        self.libraries(path)
    }

    /// What the loader asks for; a static program has none.
    fn libraries(&self, program: &Path) -> Result<()> {
        let text = process::output(Command::new("ldd").arg(program)).unwrap_or_default();
        for library in text.lines().filter_map(library) {
            self.copy(&library, &library)?;
        }
        Ok(())
    }

    /// Without symbols it takes a fifth of the memory.
    fn stripped(&self, from: &Path, to: &Path) -> Result<()> {
        self.copy(from, to)?;
        process::run(Command::new("strip").arg(self.place(to)?))?;
        self.libraries(from)
    }

    /// Copies a file of this machine to an absolute path of the other.
    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.place(to)?;
        if to.exists() {
            return Ok(());
        }
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    fn place(&self, path: &Path) -> Result<PathBuf> {
        Ok(self.root.join(path.strip_prefix("/").with_context(|| format!("{} is not absolute", path.display()))?))
    }

    fn dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(path), text).with_context(|| format!("cannot write {path}"))
    }

    fn link(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let path = self.root.join(path);
        symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))
    }
}

/// The path in a line `libc.so.6 => /lib/libc.so.6 (0x7f..)` or `/lib64/ld-linux-x86-64.so.2 (0x7f..)`.
fn library(line: &str) -> Option<PathBuf> {
    line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_with_and_without_an_arrow() {
        assert_eq!(library("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)"), Some("/lib/libc.so.6".into()));
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"), Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f)"), None);
    }
}
