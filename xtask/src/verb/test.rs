//! `test`: every test, pure ones and those that need root, on the release binaries.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{dist, setup};
use crate::process;

/// Which tests to run.
#[derive(Args)]
pub(crate) struct Test {
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Passed and failed tests of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
}

/// Sets up, builds, runs the tests of all default members and adds up their results.
#[expect(clippy::print_stdout, reason = "the tests' output and its summary")]
pub(crate) fn run(test: &Test) -> Result<()> {
    setup::everything()?;
    let dist = dist::build()?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast"]).args(&test.filter).env("WEFT_DIST", dist);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run `cargo test`")?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("`cargo test` has no output")?).lines() {
        let line = line.context("cannot read the output of `cargo test`")?;
        println!("{line}");
        tally.add(&line);
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    let Tally { passed, failed } = tally;
    println!("\n{passed} passed, {failed} failed");
    if !status.success() || failed > 0 {
        bail!("`cargo test` failed: {status}");
    }
    if passed == 0 {
        bail!("no test ran; is the filter right?");
    }
    Ok(())
}

impl Tally {
    /// Adds a line `test result: ok. 3 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| {
            let words: Vec<_> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
            words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_other_lines_do_not_count() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        tally.add("test says 7 passed ... ok");
        tally.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert_eq!(tally, Tally { passed: 4, failed: 2 });
    }
}
