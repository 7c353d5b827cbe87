//! The layout rules that no compiler checks.

mod crates;
mod files;
mod modules;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use crates::check as check_crates;
pub(crate) use files::check as check_file;
pub(crate) use modules::check as check_module;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, from the top directory on.
    pub(crate) path: PathBuf,
    /// Counted from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// The rule.
    pub(crate) rule: String,
}

impl Finding {
    fn at(path: &Path, line: usize, rule: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.rule)
    }
}

/// Every Rust file below the top directory that is ours, paths from there on.
pub(crate) fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && path != root.join("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
