//! The settings as documentation lists them: what the command line itself says of each.

use clap::{ArgAction, Args as _, Command};

use super::settings::Settings;

/// A setting, by whichever way it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Key of the configuration file and of a `ConfigMap`; the flag is `--` and this.
    pub key: String,
    /// Its environment variable.
    pub variable: String,
    /// Kind of its value in one word, such as `DIR`.
    pub value: String,
    /// Whether it is a list: repeated flags, commas in a variable or a `ConfigMap`, an array in the file.
    pub list: bool,
    /// What it is if it is not given; none where that is nothing.
    pub default: Option<String>,
    /// What it means, in a line.
    pub meaning: String,
}

/// Every setting, in the order in which `weft-agent --help` tells them.
pub fn reference() -> Vec<Setting> {
    let command = Settings::augment_args(Command::new("settings"));
    let settings = command.get_arguments().filter_map(|flag| {
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let (meaning, default) = match help.split_once(" [default: ") {
            Some((meaning, default)) => (meaning, default.strip_suffix(']')),
            None => (help.as_str(), None),
        };
        Some(Setting {
            key: flag.get_long()?.to_owned(),
            variable: flag.get_env()?.to_str()?.to_owned(),
            value: flag.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default(),
            list: flag.get_value_delimiter().is_some() && matches!(flag.get_action(), ArgAction::Append),
            default: default.map(str::to_owned),
            meaning: meaning.to_owned(),
        })
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    #[test]
    fn every_key_is_told_whole() {
        let told = reference();
        assert_eq!(told.iter().map(|setting| setting.key.clone()).collect::<Vec<_>>(), file::keys());
        for setting in &told {
            let variable = format!("WEFT_{}", setting.key.replace('-', "_").to_uppercase());
            assert_eq!(setting.variable, variable);
            assert!(!setting.meaning.is_empty() && !setting.meaning.contains("[default"), "{setting:?}");
        }
        let listed = |key: &str| told.iter().find(|setting| setting.key == key).unwrap().clone();
        assert!(listed("pod-cidr").list && !listed("mtu").list);
        assert_eq!(listed("run-dir").default.as_deref(), Some("/run/weft"));
        assert_eq!(listed("standalone").value, "BOOL");
    }
}
