//! One look at the files for the container runtime, and what it takes to put them right.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::InstallConfig;
use crate::text;

use super::conflist::{self, NAME};
use super::kept::{Content, Kept, Stamp, stamp};
use super::plugins::Plugins;
use super::view::Findings;

/// Somebody who undoes our work more often than that within [`PERIOD`] means it.
const PATIENCE: usize = 10;
const PERIOD: Duration = Duration::from_secs(20);

/// What is kept, and what was found of it.
#[derive(Debug)]
pub(super) struct Round {
    plugins: Option<Plugins>,
    conflist: Option<Kept>,
    conf_dir: Option<PathBuf>,
    swept: bool,
    /// When the configuration was written.
    writes: VecDeque<Instant>,
    /// Files that sort before ours, as they were when they were judged.
    judged: Vec<(OsString, Option<Stamp>)>,
    rivals: Vec<String>,
}

impl Round {
    pub(super) fn new(config: &InstallConfig, socket: &Path) -> Self {
        let conflist = |directory: &PathBuf| Kept::new(directory, NAME, Content::Text(conflist::text(socket)), 0o644);
        Self {
            plugins: config.bin_dir.as_deref().map(Plugins::new),
            conflist: config.conf_dir.as_ref().map(conflist),
            conf_dir: config.conf_dir.clone(),
            swept: false,
            writes: VecDeque::new(),
            judged: Vec::new(),
            rivals: Vec::new(),
        }
    }

    /// Puts right what is not; the configuration last, and only once the agent serves.
    pub(super) fn settle(&mut self, ready: bool) -> Findings {
        if !self.swept {
            self.plugins.iter().for_each(Plugins::sweep);
            self.conflist.iter().for_each(Kept::sweep);
            self.swept = true;
        }
        let mut problems = Vec::new();
        let mut complete = true;
        if let Some(plugins) = &mut self.plugins
            && let Err(error) = plugins.restore()
        {
            // An older one in its place serves as well.
            complete = plugins.path().exists();
            problems.push(text::chain(&error));
        }
        let mut written = None;
        if let Some(conflist) = self.conflist.as_mut().filter(|_| ready && complete) {
            match keep(conflist, &mut self.writes) {
                Ok(()) => written = Some(conflist.path()),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(self.rivals().iter().cloned());
        Findings { conflist: written, problems }
    }

    /// Sentences about files that sort before ours; they are read only when one of them changed.
    fn rivals(&mut self) -> &[String] {
        let Some(directory) = &self.conf_dir else { return &[] };
        let names = conflist::before_ours(directory).unwrap_or_default();
        let found: Vec<_> = names.into_iter().map(|name| (name.clone(), stamp(&directory.join(name)))).collect();
        if found != self.judged {
            self.rivals = found.iter().filter_map(|(name, _)| conflist::trouble(directory, name)).collect();
            self.judged = found;
        }
        &self.rivals
    }
}

/// Sentences about files that a runtime reads before ours.
pub(crate) fn rivals(directory: &Path) -> Vec<String> {
    let names = conflist::before_ours(directory).unwrap_or_default();
    names.iter().filter_map(|name| conflist::trouble(directory, name)).collect()
}

/// Restores the configuration, unless somebody takes it away each time.
fn keep(conflist: &mut Kept, writes: &mut VecDeque<Instant>) -> Result<(), String> {
    while writes.front().is_some_and(|written| written.elapsed() > PERIOD) {
        writes.pop_front();
    }
    let path = conflist.path();
    if writes.len() >= PATIENCE && conflist.is_touched() {
        return Err(format!(
            "{} is altered again and again, and left alone for a while: find who else writes it",
            path.display()
        ));
    }
    match conflist.restore() {
        Ok(true) => {
            log::info!("{} is written", path.display());
            writes.push_back(Instant::now());
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) => Err(text::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn round(dir: &Path) -> Round {
        fs::write(dir.join("source"), "plugin").unwrap();
        let config = InstallConfig { bin_dir: Some(dir.join("bin")), conf_dir: Some(dir.join("net.d")) };
        let mut round = Round::new(&config, Path::new("/run/weft/agent.sock"));
        round.plugins = Some(Plugins::of(&dir.join("bin"), &dir.join("source")));
        round
    }

    #[test]
    fn the_configuration_comes_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut round = round(dir.path());
        assert_eq!(round.settle(false), Findings::default());
        assert!(dir.path().join("bin/weft-cni").exists() && !dir.path().join("net.d").exists());
        let path = dir.path().join("net.d/05-weft.conflist");
        assert_eq!(round.settle(true), Findings { conflist: Some(path.clone()), problems: Vec::new() });
        assert!(path.exists());
    }

    #[test]
    fn no_configuration_without_a_plugin() {
        let dir = tempfile::tempdir().unwrap();
        let mut round = round(dir.path());
        fs::remove_file(dir.path().join("source")).unwrap();
        let findings = round.settle(true);
        assert!(findings.conflist.is_none() && findings.problems[0].contains("beside weft-agent"), "{findings:?}");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/weft-cni"), "older").unwrap();
        let findings = round.settle(true);
        assert!(findings.conflist.is_some() && findings.problems.len() == 1, "{findings:?}");
    }

    #[test]
    fn who_alters_it_each_time_wins_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let mut round = round(dir.path());
        let path = dir.path().join("net.d/05-weft.conflist");
        for _ in 0..PATIENCE {
            assert!(round.settle(true).conflist.is_some());
            fs::write(&path, "{}").unwrap();
        }
        let findings = round.settle(true);
        assert!(findings.conflist.is_none() && findings.problems[0].contains("again and again"), "{findings:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }

    #[test]
    fn files_before_ours_are_named_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut round = round(dir.path());
        round.settle(true);
        let rival = dir.path().join("net.d/00-other.conflist");
        fs::write(&rival, r#"{"name":"other","plugins":[{"type":"bridge"}]}"#).unwrap();
        let problems = round.settle(true).problems;
        assert!(problems[0].contains("00-other.conflist") && problems[0].contains("remove it"), "{problems:?}");
        fs::rename(&rival, dir.path().join("net.d/10-other.conflist")).unwrap();
        assert!(round.settle(true).problems.is_empty());
    }
}
