//! VERSION: which versions of the specification weft speaks.

use serde_json::{Value, json};

use crate::command::failure::Failure;
use crate::spec::document::Document;
use crate::spec::version::Version;

/// Echoes the version that was asked with, whether it is supported or not: the list tells.
pub(super) fn version(document: &Document) -> Result<Value, Failure> {
    Ok(json!({
        "cniVersion": document.version_text()?,
        "supportedVersions": Version::ALL.map(Version::as_str),
    }))
}
