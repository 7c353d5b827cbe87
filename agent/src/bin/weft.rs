//! `weft`: the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft_agent::cli::main()
}
