//! Takes back what the agent has put onto its node for the container runtime.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::InstallConfig;
use crate::run_dir::RunDir;

use super::conflist::{self, NAME, PLUGIN};
use super::kept::{is_copy, remedy};
use super::plugins::{self, STAND_IN};

/// A file that is ours could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}{}", path.display(), remedy(source))]
pub(crate) struct RemovalError {
    path: PathBuf,
    source: io::Error,
}

/// Removes the configuration if it leads to the agent of this run directory, and the plugin unless another
/// configuration needs it. What is gone already is no error.
pub(crate) fn remove(config: &InstallConfig, run_dir: &RunDir) -> Vec<RemovalError> {
    let mut errors = Vec::new();
    let conflist = config.conf_dir.as_ref().map(|directory| directory.join(NAME));
    let text = conflist.as_ref().and_then(|path| fs::read_to_string(path).ok());
    let ours = text.is_some_and(|text| conflist::is_for(&text, &run_dir.socket()));
    let draft = |directory: &Path, name: &str| directory.join(format!(".{name}.new"));
    let mut condemned = Vec::new();
    if let Some(directory) = &config.conf_dir {
        condemned.extend(ours.then(|| directory.join(NAME)));
        condemned.extend(ours.then(|| draft(directory, NAME)));
    }
    if let Some(directory) = &config.bin_dir {
        let [plugin, stand_in] = [PLUGIN, STAND_IN].map(|name| directory.join(name));
        let needed = config.conf_dir.as_deref().is_some_and(conflist::others_need_plugin)
            || (!ours && conflist.is_some_and(|path| path.exists()));
        if !needed && (ours || is_copy(&plugin, &plugins::source())) {
            if is_copy(&stand_in, &plugin) || is_copy(&stand_in, &plugins::source()) {
                condemned.extend([draft(directory, STAND_IN), stand_in]);
            }
            condemned.extend([draft(directory, PLUGIN), plugin]);
        }
    }
    for path in condemned {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => errors.push(RemovalError { path, source }),
            _ => {}
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        config: InstallConfig,
        run_dir: RunDir,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let [bin, conf] = ["bin", "net.d"].map(|name| dir.path().join(name));
            fs::create_dir(&bin).unwrap();
            fs::create_dir(&conf).unwrap();
            let run_dir = RunDir::new(dir.path().join("run"));
            fs::write(bin.join(PLUGIN), "plugin").unwrap();
            fs::write(bin.join(STAND_IN), "plugin").unwrap();
            fs::write(conf.join(NAME), conflist::text(&run_dir.socket())).unwrap();
            Self { config: InstallConfig { bin_dir: Some(bin), conf_dir: Some(conf) }, run_dir, dir }
        }

        fn left(&self) -> Vec<String> {
            let list = |name| fs::read_dir(self.dir.path().join(name)).unwrap();
            let names = list("bin").chain(list("net.d")).map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn ours_goes() {
        let fixture = Fixture::new();
        assert!(remove(&fixture.config, &fixture.run_dir).is_empty());
        assert_eq!(fixture.left(), Vec::<String>::new());
        assert!(remove(&fixture.config, &fixture.run_dir).is_empty());
    }

    #[test]
    fn a_plugin_of_that_name_that_is_not_ours_stays() {
        let fixture = Fixture::new();
        fs::write(fixture.dir.path().join("bin").join(STAND_IN), "another").unwrap();
        assert!(remove(&fixture.config, &fixture.run_dir).is_empty());
        assert_eq!(fixture.left(), [STAND_IN]);
    }

    #[test]
    fn what_leads_to_another_agent_stays() {
        let fixture = Fixture::new();
        let other = RunDir::new(fixture.dir.path().join("other"));
        assert!(remove(&fixture.config, &other).is_empty());
        assert_eq!(fixture.left(), [NAME, STAND_IN, PLUGIN]);
    }

    #[test]
    fn a_plugin_that_others_need_stays() {
        let fixture = Fixture::new();
        let chained = r#"{"name":"x","plugins":[{"type":"bridge"},{"type":"weft-cni"}]}"#;
        fs::write(fixture.dir.path().join("net.d/10-chained.conflist"), chained).unwrap();
        assert!(remove(&fixture.config, &fixture.run_dir).is_empty());
        assert_eq!(fixture.left(), ["10-chained.conflist", STAND_IN, PLUGIN]);
    }
}
