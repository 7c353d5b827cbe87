//! The plugin in the runtime's directory, and under a second name where the runtime would find no plugin of that name.

use std::path::{Path, PathBuf};

use super::conflist::PLUGIN;
use super::kept::{Content, Kept, KeptError, is_copy};

/// The plugin that containerd starts no pod without, whatever its network. What somebody else installed there stays.
pub(crate) const STAND_IN: &str = "loopback";

/// What the agent keeps among the plugins of a node.
#[derive(Debug)]
pub(super) struct Plugins {
    plugin: Kept,
    stand_in: Kept,
}

impl Plugins {
    /// The plugin that came with this program, as it is to be in that directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self::of(directory, &source())
    }

    pub(super) fn of(directory: &Path, source: &Path) -> Self {
        let kept = |name| Kept::new(directory, name, Content::File(source.to_owned()), 0o755);
        Self { plugin: kept(PLUGIN), stand_in: kept(STAND_IN) }
    }

    /// Where the plugin is.
    pub(super) fn path(&self) -> PathBuf {
        self.plugin.path()
    }

    pub(super) fn sweep(&self) {
        self.plugin.sweep();
        self.stand_in.sweep();
    }

    /// Whether the plugin is as it is to be.
    pub(super) fn are_usable(&self) -> bool {
        self.plugin.is_right().unwrap_or_default()
    }

    /// Writes what is not as it should be.
    pub(super) fn restore(&mut self) -> Result<(), KeptError> {
        // A copy of the plugin that was here before is one of ours.
        let due = !self.stand_in.path().exists()
            || (self.plugin.is_touched() && is_copy(&self.stand_in.path(), &self.plugin.path()));
        write(&mut self.plugin)?;
        if due { write(&mut self.stand_in) } else { Ok(()) }
    }
}

fn write(kept: &mut Kept) -> Result<(), KeptError> {
    if kept.restore()? {
        log::info!("{} is written", kept.path().display());
    }
    Ok(())
}

/// The plugin that came with this program.
pub(super) fn source() -> PathBuf {
    let directory = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    directory.unwrap_or_else(|| PathBuf::from("/bin")).join(PLUGIN)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        /// An agent starts that came with this plugin.
        fn start(&self, version: &str) -> Plugins {
            let source = self.dir.path().join("source");
            fs::write(&source, version).unwrap();
            let mut plugins = Plugins::of(&self.dir.path().join("bin"), &source);
            plugins.restore().unwrap();
            plugins
        }

        fn set(&self, name: &str, content: &str) {
            let bin = self.dir.path().join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join(name), content).unwrap();
        }

        fn found(&self) -> [String; 2] {
            [PLUGIN, STAND_IN].map(|name| fs::read_to_string(self.dir.path().join("bin").join(name)).unwrap())
        }
    }

    #[test]
    fn ours_stands_in_and_follows_the_version() {
        let fixture = Fixture::new();
        fixture.start("0.1");
        assert_eq!(fixture.found(), ["0.1", "0.1"]);
        let mut plugins = fixture.start("0.2");
        assert_eq!(fixture.found(), ["0.2", "0.2"]);
        fs::remove_file(fixture.dir.path().join("bin").join(STAND_IN)).unwrap();
        plugins.restore().unwrap();
        assert_eq!(fixture.found(), ["0.2", "0.2"]);
        assert!(plugins.are_usable());
    }

    #[test]
    fn another_s_stays() {
        let fixture = Fixture::new();
        fixture.set(STAND_IN, "another");
        let mut plugins = fixture.start("0.1");
        assert_eq!(fixture.found(), ["0.1", "another"]);
        // Somebody installs it later, in place of ours.
        fs::remove_file(fixture.dir.path().join("bin").join(STAND_IN)).unwrap();
        plugins.restore().unwrap();
        fixture.set(STAND_IN, "another");
        plugins.restore().unwrap();
        fixture.start("0.2");
        assert_eq!(fixture.found(), ["0.2", "another"]);
    }
}
