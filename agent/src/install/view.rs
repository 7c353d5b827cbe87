//! What the status tells of the files for the container runtime.

use std::cell::RefCell;
use std::path::PathBuf;

/// What was last found.
#[derive(Debug, Default)]
pub(crate) struct View {
    conflist: RefCell<Option<PathBuf>>,
    problems: RefCell<Vec<String>>,
}

impl View {
    /// The network configuration, once it is written.
    pub(crate) fn conflist(&self) -> Option<String> {
        self.conflist.borrow().as_ref().map(|path| path.display().to_string())
    }

    /// What is not as it should be, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    pub(super) fn set_conflist(&self, path: Option<PathBuf>) {
        self.conflist.replace(path);
    }

    pub(super) fn set_problems(&self, problems: Vec<String>) {
        self.problems.replace(problems);
    }
}
