//! weft-cni: joins pods to the network when a container runtime asks for it.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = weft_cni::command::run(env::var_os, io::stdin().lock());
    let written = io::stdout().write_all(&outcome.output);
    if let Err(error) = &written {
        // Nothing is left to do when nobody reads this either.
        let _ = writeln!(io::stderr(), "weft-cni: writing the result to standard output failed: {error}");
    }
    if outcome.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
