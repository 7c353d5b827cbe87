//! A directory with a file for each setting, as a mounted `ConfigMap` is.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Args as _, Command, FromArgMatches as _};

use super::settings::Settings;
use super::{ConfigError, file};

/// Reads the files that are named like settings; an empty one counts as not given. Lists are separated by commas.
pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| ConfigError::ReadDirectory { path, source }
    };
    let mut settings = Settings::default();
    let keys = file::keys();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let name = entry.map_err(failed(path))?.file_name();
        // A mounted ConfigMap holds its versions in directories whose names begin with `..`.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let file = path.join(&name);
        let key = name.to_string_lossy().into_owned();
        if !keys.contains(&key) {
            return Err(ConfigError::UnknownFile { path: path.to_owned(), nearest: file::nearest(&key, &keys), key });
        }
        let text = fs::read_to_string(&file).map_err(failed(&file))?;
        if !text.trim().is_empty() {
            let only = one(&key, text.trim());
            let wrong = |problem| ConfigError::WrongText { path: path.to_owned(), key, problem };
            settings = settings.or(only.map_err(wrong)?);
        }
    }
    Ok(settings)
}

/// What the flag of that name would be with this text.
fn one(key: &str, text: &str) -> Result<Settings, String> {
    let command = Settings::augment_args(Command::new("settings").no_binary_name(true));
    // The environment has its own place among the sources.
    let command = command.mut_args(|flag| flag.env(Resettable::Reset));
    let parsed = command.try_get_matches_from([OsString::from(format!("--{key}={text}"))]);
    parsed.and_then(|matches| Settings::from_arg_matches(&matches)).map_err(|error| {
        let told = error.to_string();
        let about =
            told.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
        about.trim_start_matches("error: ").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A `ConfigMap` as the kubelet mounts one.
    fn mounted(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("..2026_01_01");
        fs::create_dir(&version).unwrap();
        symlink("..2026_01_01", dir.path().join("..data")).unwrap();
        for (name, text) in files {
            fs::write(version.join(name), text).unwrap();
            symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
        }
        dir
    }

    #[test]
    fn texts_become_settings() {
        let dir = mounted(&[
            ("standalone", "true\n"),
            ("pod-cidr", "10.1.0.0/24, fd00::/64"),
            ("mtu", "1400"),
            ("node-name", ""),
            ("masquerade", "false"),
            ("timeout-icmp", "7"),
            ("cni-bin-dir", "/opt/cni"),
        ]);
        let config = read(dir.path()).unwrap().into_config().unwrap();
        assert_eq!((config.pod_cidrs.len(), config.mtu, config.network.masquerade), (2, Some(1400), false));
        assert_eq!(config.timeouts.icmp.as_secs(), 7);
        assert_eq!(config.install.unwrap().bin_dir, Some(PathBuf::from("/opt/cni")));
        assert!(!config.node_name.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, text, parts) in [
            ("pod-cird", "10.1.0.0/24", ["\"pod-cird\"", "\"pod-cidr\""]),
            ("mtu", "big", ["mtu: ", "'big'"]),
            ("masquerade", "perhaps", ["masquerade: ", "true, false"]),
            ("config", "/etc/weft.toml", ["\"config\"", "did you mean"]),
        ] {
            let dir = mounted(&[(name, text)]);
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let error = read(Path::new("/not/there")).unwrap_err().to_string();
        assert!(error.contains("/not/there"), "{error}");
    }
}
