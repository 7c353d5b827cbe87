//! Paths, in the one spelling that names and link groups derive from.

use std::path::{Component, Path, PathBuf};

use super::ConfigError;

/// The same path without trailing slashes; it must be absolute and plain.
pub(super) fn absolute(field: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    let wrong = |why| ConfigError::Path { field, path: path.to_owned(), why };
    if !path.is_absolute() {
        return Err(wrong("is not absolute: begin it with /"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(wrong("contains `..`: write it out"));
    }
    match path.components().collect::<PathBuf>() {
        root if root == Path::new("/") => Err(wrong("is the root: name something below it")),
        path => Ok(path),
    }
}
