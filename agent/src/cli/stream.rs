//! Answers without an end: a line for each record as it happens.

use serde::de::DeserializeOwned;
use weft_cni::client::Client;

use super::PATIENCE;
use super::error::CliError;
use super::output::{Output, align};

/// Prints records until interrupted: to programs as they came, to people in columns of these headings and widths.
pub(super) fn follow<T: DeserializeOwned, const N: usize>(
    client: &Client,
    output: &Output,
    path: &str,
    headings: &[&str; N],
    widths: &[usize],
    fields: impl Fn(&T) -> [String; N],
) -> Result<(), CliError> {
    let lines = client.follow(path, PATIENCE)?;
    if !output.is_json() {
        Output::line(&align(headings, widths))?;
    }
    for line in lines {
        let line = line.map_err(CliError::Broken)?;
        if output.is_json() {
            Output::line(&line)?;
        } else {
            let record = serde_json::from_str(&line).map_err(CliError::Decode)?;
            Output::line(&align(&fields(&record), widths))?;
        }
    }
    Err(CliError::Ended)
}
