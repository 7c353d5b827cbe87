//! `vm-test`: the tests on other kernels, each in a machine of its own.

use std::env::consts::ARCH;

use anyhow::{Result, bail};
use clap::Args;

use super::dist;
use crate::vm::{self, Kernel, SERIES, Suite};
use crate::{install, workspace};

/// Which kernels and tests.
#[derive(Args)]
pub(crate) struct VmTest {
    /// A series of Debian kernels, once or more; all of them if none is named
    #[arg(long = "kernel", value_name = "SERIES", value_parser = SERIES.map(|(series, _)| series))]
    kernels: Vec<String>,
    /// Only this test program, once or more, such as `program` or `shaping`
    #[arg(long = "test", value_name = "PROGRAM")]
    programs: Vec<String>,
    /// Only tests whose names contain one of these; a name is `program::module::test`
    filters: Vec<String>,
}

/// Builds, boots one kernel after the other and says what came of each test.
#[expect(clippy::print_stdout, reason = "the result of the task")]
pub(crate) fn run(args: &VmTest) -> Result<()> {
    if ARCH != "x86_64" {
        bail!("the machines run what is built here, and their kernels are for x86-64: this is {ARCH}");
    }
    install::ensure_packages()?;
    install::ensure_vm_packages()?;
    if workspace::tested() == workspace::dist() {
        install::ensure_toolchain()?;
        dist::build()?;
    }
    let suite = Suite::build(&args.programs, &args.filters)?;
    let all = SERIES.map(|(series, _)| series.to_owned()).to_vec();
    let mut lines = Vec::new();
    let mut bad = 0;
    for series in if args.kernels.is_empty() { &all } else { &args.kernels } {
        let kernel = Kernel::get(series)?;
        let (asked, left_out) = suite.on(&kernel)?;
        install::say("booting", &format!("{} for {} tests", kernel.release, asked.names().len()));
        for (exclusion, count) in &left_out {
            install::say("left out", &format!("{count} of {:?}: {}", exclusion.part, exclusion.reason));
        }
        let (seconds, report) = vm::boot(&kernel, &asked)?.close();
        for problem in &report.problems {
            println!("{series}: {problem}");
        }
        let verdict = if report.problems.is_empty() { "passed" } else { "FAILED" };
        bad += usize::from(!report.problems.is_empty());
        let left_out: usize = left_out.iter().map(|(_, count)| count).sum();
        lines.push(format!(
            "{:<28} {verdict}  {} of {} tests, {left_out} left out, {seconds} s; output and console in {}",
            kernel.release,
            report.passed,
            asked.names().len(),
            report.dir.display(),
        ));
    }
    println!("\n{}", lines.join("\n"));
    if bad > 0 {
        bail!("{bad} of {} kernels failed", lines.len());
    }
    Ok(())
}
