//! `cargo xtask`: weft's build, test and release tasks.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on panics"))]

mod cross;
mod ebpf;
mod image;
mod install;
mod process;
mod tidy;
mod verb;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::verb::scenario::Profile;

/// weft's build, test and release tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what building, the demo and the tests need
    Setup(verb::setup::Setup),
    /// Build the eBPF programs: target/ebpf/weft.o
    BuildEbpf,
    /// Lint the eBPF programs
    LintEbpf,
    /// Build the release binaries: target/dist
    Dist,
    /// Make the container image
    Image(verb::image::ImageArgs),
    /// Show three pods that join, talk and leave
    Demo(verb::scenario::Scenario),
    /// Run every test
    Test(verb::test::Test),
    /// Run the tests on other kernels, in QEMU
    VmTest(verb::vm_test::VmTest),
    /// Measure weft beside its peers
    Bench(verb::scenario::Scenario),
    /// Run user scenarios on a Kubernetes cluster: --kubeconfig FILE
    E2e(verb::scenario::Scenario),
    /// Check the layout rules
    Tidy,
}

#[expect(clippy::print_stderr, reason = "the last word of a failed task")]
fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(setup) => verb::setup::run(&setup),
        Verb::BuildEbpf => verb::build_ebpf::run(),
        Verb::LintEbpf => verb::lint_ebpf::run(),
        Verb::Dist => verb::dist::run(),
        Verb::Image(args) => verb::image::run(&args),
        Verb::Demo(scenario) => verb::scenario::run("weft-demo", Profile::Dev, &scenario),
        Verb::Test(test) => verb::test::run(&test),
        Verb::VmTest(args) => verb::vm_test::run(&args),
        Verb::Bench(scenario) => verb::scenario::run("weft-bench", Profile::Release, &scenario),
        Verb::E2e(scenario) => verb::e2e::run(&scenario),
        Verb::Tidy => verb::tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
