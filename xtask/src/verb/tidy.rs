//! `tidy`: the layout rules.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::tidy::{self, Finding};
use crate::{process, workspace};

/// What a reader of the README types; CI has to run the second of them.
const README_COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// Checks every rule and prints each place where one is broken.
#[expect(clippy::print_stdout, reason = "the result of the task")]
pub(crate) fn run() -> Result<()> {
    let mut findings = check_crates()?;
    findings.extend(check_commands()?);
    let root = workspace::root();
    let sources = tidy::sources(&root)?;
    for path in &sources {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        findings.extend(tidy::check_file(path, &text));
        findings.extend(tidy::check_module(path, &text));
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} places to tidy up", findings.len());
    }
    println!("{} files are tidy", sources.len());
    Ok(())
}

fn check_crates() -> Result<Vec<Finding>> {
    let metadata = process::output(process::cargo().args(["metadata", "--locked", "--no-deps", "--format-version=1"]))
        .context("cannot run `cargo metadata`")?;
    tidy::check_crates(&serde_json::from_str(&metadata).context("`cargo metadata` is no JSON")?)
}

/// The README names both commands, and CI runs its test command to the letter.
fn check_commands() -> Result<Vec<Finding>> {
    let read =
        |name: &str| fs::read_to_string(workspace::root().join(name)).with_context(|| format!("cannot read {name}"));
    let (readme, ci) = (read("README.md")?, read(".ci/run")?);
    let missing = |file: &str, command: &str| Finding {
        path: file.into(),
        line: 0,
        rule: format!("`{command}` is missing: README.md and .ci/run go together"),
    };
    let mut findings: Vec<_> = README_COMMANDS
        .into_iter()
        .filter(|command| !readme.lines().any(|line| line == *command))
        .map(|command| missing("README.md", command))
        .collect();
    let [_, test] = README_COMMANDS;
    if !ci.lines().any(|line| line == format!("step {test}")) {
        findings.push(missing(".ci/run", test));
    }
    Ok(findings)
}
