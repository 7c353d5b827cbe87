//! Records as streams send them.

use hyper::body::Bytes;
use serde::Serialize;

/// A line of JSON.
pub(super) fn json(record: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line.into())
}
