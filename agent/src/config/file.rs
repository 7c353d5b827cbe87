//! The configuration file.

use std::path::Path;

use clap::Args as _;
use serde::Deserialize as _;
use toml::Table;

use super::ConfigError;
use super::settings::Settings;

pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::ReadFile { path: path.to_owned(), source })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            problem: one_line(error.message()),
        }
    })?;
    let keys = keys();
    let mut settings = Settings::default();
    for (key, value) in table {
        if !keys.contains(&key) {
            return Err(ConfigError::UnknownKey { path: path.to_owned(), nearest: nearest(&key, &keys), key });
        }
        let only = Settings::deserialize(Table::from_iter([(key.clone(), value)])).map_err(|error| {
            ConfigError::WrongType { path: path.to_owned(), key, problem: one_line(error.message()) }
        })?;
        settings = settings.or(only);
    }
    Ok(settings)
}

/// The keys of the file are the long names of the flags.
pub(super) fn keys() -> Vec<String> {
    let command = Settings::augment_args(clap::Command::new("settings"));
    command.get_arguments().filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
}

pub(super) fn nearest(key: &str, keys: &[String]) -> String {
    let similar = |candidate: &String| strsim::jaro_winkler(key, candidate);
    keys.iter().max_by(|a, b| similar(a).total_cmp(&similar(b))).cloned().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_key() {
        let keys = keys();
        for key in ["standalone", "pod-cidr", "run-dir", "bpf-dir", "expedite-rcu", "log-level"] {
            assert!(keys.iter().any(|known| known == key), "{key}: {keys:?}");
        }
        assert!(keys.iter().all(|key| key != "config" && key != "force"), "{keys:?}");
    }

    #[test]
    fn typing_errors_find_their_key() {
        for (typed, meant) in [("pod_cidr", "pod-cidr"), ("rundir", "run-dir"), ("loglevel", "log-level")] {
            assert_eq!(nearest(typed, &keys()), meant);
        }
    }
}
