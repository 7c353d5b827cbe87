//! Another plugin that chooses the addresses (section 4 of the specification).

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use crate::spec::error::ErrorReply;
use crate::spec::result::{AddResult, ResultError};
use crate::spec::version::Version;

/// Bytes of a plugin's output at most.
const OUTPUT_LIMIT: u64 = 4 << 20;

/// A plugin of `CNI_PATH`. It gets the environment and the configuration that we got.
#[derive(Debug)]
pub(crate) struct Delegate<'a> {
    name: &'a str,
    program: PathBuf,
    configuration: &'a [u8],
    version: Version,
}

/// The plugin could not be run, or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelegateError {
    #[error("ipam.type {name:?} is not a file in any directory of CNI_PATH: {}", dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    NotFound { name: String, dirs: Vec<PathBuf> },
    #[error("running the IPAM plugin {} failed", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("IPAM plugin {name}: {}", error.msg)]
    Reported { name: String, error: ErrorReply },
    #[error("IPAM plugin {name} failed without an error object ({status}): {output:?}")]
    Silent { name: String, status: ExitStatus, output: String },
    #[error("IPAM plugin {name}: its result is not JSON")]
    NotJson { name: String, source: serde_json::Error },
    #[error("IPAM plugin {name}: its result cannot be used")]
    Result { name: String, source: ResultError },
    #[error("IPAM plugin {name}: its result has no address")]
    NoAddress { name: String },
}

impl<'a> Delegate<'a> {
    /// Looks `name` up in the directories, first one first.
    pub(crate) fn find(
        name: &'a str,
        dirs: Vec<PathBuf>,
        configuration: &'a [u8],
        version: Version,
    ) -> Result<Self, DelegateError> {
        match dirs.iter().map(|dir| dir.join(name)).find(|program| program.is_file()) {
            Some(program) => Ok(Self { name, program, configuration, version }),
            None => Err(DelegateError::NotFound { name: name.to_owned(), dirs }),
        }
    }

    /// ADD: the addresses it chose, at least one.
    pub(crate) fn add(&self) -> Result<AddResult, DelegateError> {
        let name = || self.name.to_owned();
        let output = self.run("ADD")?;
        let value =
            serde_json::from_slice(&output).map_err(|source| DelegateError::NotJson { name: name(), source })?;
        let decoded = AddResult::decode(value, self.version);
        let (result, _) = decoded.map_err(|source| DelegateError::Result { name: name(), source })?;
        if result.ips.is_empty() { Err(DelegateError::NoAddress { name: name() }) } else { Ok(result) }
    }

    /// Any operation; its standard output.
    pub(crate) fn run(&self, operation: &str) -> Result<Vec<u8>, DelegateError> {
        let failed = |source| DelegateError::Run { program: self.program.clone(), source };
        let mut command = Command::new(&self.program);
        command.env("CNI_COMMAND", operation).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut output = Vec::new();
        let read = thread::scope(|scope| {
            // On a thread of its own: the plugin may write before it reads. Without one its input ends at once, and
            // how the plugin takes that tells enough.
            let write = || stdin.map(|mut stdin| stdin.write_all(self.configuration));
            let _ = thread::Builder::new().spawn_scoped(scope, write);
            stdout.map_or(Ok(0), |stdout| stdout.take(OUTPUT_LIMIT).read_to_end(&mut output))
        });
        // Whether it read what we wrote is its business; how it ended says more.
        let status = child.wait().map_err(failed)?;
        read.map_err(failed)?;
        if status.success() { Ok(output) } else { Err(self.error(status, &output)) }
    }

    fn error(&self, status: ExitStatus, output: &[u8]) -> DelegateError {
        let name = self.name.to_owned();
        match serde_json::from_slice(output) {
            Ok(error) => DelegateError::Reported { name, error },
            Err(_) => DelegateError::Silent { name, status, output: String::from_utf8_lossy(output).into_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ipam::fake_plugin::plugin;

    fn find(dir: &TempDir) -> Delegate<'static> {
        let dirs = vec!["/nowhere".into(), dir.path().to_owned()];
        Delegate::find("fake", dirs, br#"{"name":"net"}"#, Version::V1_0_0).unwrap()
    }

    fn add(script: &str) -> Result<AddResult, DelegateError> {
        find(&plugin(script)).add()
    }

    #[test]
    fn the_configuration_goes_in_and_the_result_comes_out() {
        let script =
            r#"grep -q '^{"name":"net"}$' && [ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.1.0.5/24"}]}'"#;
        let result = add(script).unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.1.0.5/24");
    }

    #[test]
    fn every_shape_of_a_result_is_read() {
        let script = r#"echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24"}}'"#;
        assert_eq!(add(script).unwrap().ips[0].address.to_string(), "10.1.0.5/24");
    }

    #[test]
    fn its_error_is_passed_on() {
        let script = r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"d"}'; exit 1"#;
        let DelegateError::Reported { error, .. } = add(script).unwrap_err() else { unreachable!() };
        assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (11, "later", "d"));
    }

    #[test]
    fn a_failure_without_words_is_told_as_such() {
        for script in ["exit 3", "echo oops; exit 3", "kill -9 $$", "echo '{}'; exit 1"] {
            let error = find(&plugin(script)).run("DEL").unwrap_err();
            assert!(matches!(error, DelegateError::Silent { .. }), "{script}: {error:?}");
        }
        assert!(matches!(add("echo oops"), Err(DelegateError::NotJson { .. })));
        assert!(matches!(add("echo '[]'"), Err(DelegateError::Result { .. })));
        assert!(matches!(add("echo '{}'"), Err(DelegateError::NoAddress { .. })));
    }

    #[test]
    fn a_plugin_that_reads_nothing_and_writes_much_does_not_block() {
        let dir = plugin("head -c 300000 /dev/zero");
        let configuration = vec![b' '; 1 << 20];
        let delegate = Delegate::find("fake", vec![dir.path().to_owned()], &configuration, Version::V1_0_0).unwrap();
        assert_eq!(delegate.run("CHECK").unwrap().len(), 300_000);
    }

    #[test]
    fn a_plugin_that_is_nowhere_is_named_with_the_path() {
        let error = Delegate::find("fake", vec!["/nowhere".into()], b"{}", Version::V1_0_0).unwrap_err().to_string();
        assert!(error.contains("ipam.type") && error.contains("fake") && error.contains("/nowhere"), "{error}");
    }
}
