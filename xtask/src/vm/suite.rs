//! The test programs, the tests in them, and which of them a kernel is asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Kernel;
use super::exclusions::{EXCLUSIONS, Exclusion};
use crate::process;

/// A test program and tests of it.
#[derive(Clone)]
pub(crate) struct Program {
    /// Its name as a cargo target.
    pub(crate) name: String,
    /// Where cargo put it.
    pub(crate) file: PathBuf,
    /// Names of tests, as the program lists them.
    pub(crate) tests: Vec<String>,
}

/// Programs, each with at least one test.
pub(crate) struct Suite {
    /// In the order in which they run.
    pub(crate) programs: Vec<Program>,
}

impl Suite {
    /// Builds these test programs of the tests crate, or all; the tests whose names contain one of the filters.
    pub(crate) fn build(programs: &[String], filters: &[String]) -> Result<Self> {
        let mut cargo = process::cargo();
        cargo.args(["test", "--locked", "--no-run", "--package", "weft-tests"]);
        let all = programs.is_empty();
        cargo.args(if all { vec!["--test", "*"] } else { programs.iter().flat_map(|name| ["--test", name]).collect() });
        cargo.args(["--message-format", "json-render-diagnostics"]);
        let output = cargo.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("{} failed: {}", process::line(&cargo), output.status);
        }
        let messages = String::from_utf8(output.stdout).context("cargo's messages are no text")?;
        let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut programs =
            artifacts.filter_map(|message| executable(&message)).map(list).collect::<Result<Vec<_>>>()?;
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        let suite = Self { programs };
        for exclusion in &EXCLUSIONS {
            if all && !suite.names().iter().any(|name| name.contains(exclusion.part)) {
                bail!("no test is called {:?} any more: take it out of the machines' exclusions", exclusion.part);
            }
        }
        let suite = suite.retain(|name| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)));
        if suite.programs.is_empty() {
            bail!("no test's name contains {}", filters.join(" or "));
        }
        Ok(suite)
    }

    /// The tests that this kernel has to pass, and how many each exclusion leaves out.
    pub(crate) fn on(&self, kernel: &Kernel) -> Result<(Self, Vec<(&'static Exclusion, usize)>)> {
        let version = kernel.version()?;
        let names = self.names();
        let count = |exclusion: &Exclusion| names.iter().filter(|name| exclusion.covers(version, name)).count();
        let left_out = EXCLUSIONS.iter().map(|exclusion| (exclusion, count(exclusion))).filter(|(_, count)| *count > 0);
        let asked = self.retain(|name| !EXCLUSIONS.iter().any(|exclusion| exclusion.covers(version, name)));
        Ok((asked, left_out.collect()))
    }

    /// `program::module::test` of each test.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let of = |program: &Program| {
            let name = program.name.clone();
            program.tests.iter().map(move |test| format!("{name}::{test}")).collect::<Vec<_>>()
        };
        self.programs.iter().flat_map(of).collect()
    }

    /// What the machine reads: a program and its tests a line.
    pub(crate) fn plan(&self) -> String {
        let line = |program: &Program| format!("{} {}", program.name, program.tests.join(" "));
        self.programs.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn retain(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut programs = self.programs.clone();
        for program in &mut programs {
            program.tests.retain(|test| wanted(&format!("{}::{test}", program.name)));
        }
        programs.retain(|program| !program.tests.is_empty());
        Self { programs }
    }
}

/// Name and file of a program that cargo says it has built.
fn executable(message: &Value) -> Option<(String, PathBuf)> {
    let file = message["executable"].as_str().filter(|_| message["target"]["kind"][0] == "test")?;
    Some((message["target"]["name"].as_str()?.to_owned(), file.into()))
}

fn list((name, file): (String, PathBuf)) -> Result<Program> {
    let text = process::output(Command::new(&file).args(["--list", "--format", "terse"]));
    let text = text.with_context(|| format!("{} does not list its tests", file.display()))?;
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    Ok(Program { name, file, tests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_without_a_wanted_test_are_left_at_home() {
        let program = |name: &str, tests: [&str; 2]| Program {
            name: name.into(),
            file: "f".into(),
            tests: tests.map(str::to_owned).to_vec(),
        };
        let suite = Suite { programs: vec![program("a", ["x::one", "x::two"]), program("b", ["two", "three"])] };
        assert_eq!(suite.retain(|name| name.ends_with("two")).plan(), "a x::two\nb two\n");
        assert_eq!(suite.retain(|name| name.contains("a::x")).plan(), "a x::one x::two\n");
    }
}
