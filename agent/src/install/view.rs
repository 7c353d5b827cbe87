//! What the status tells of the files for the container runtime.

use std::cell::RefCell;
use std::path::PathBuf;

/// What a look at the files has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The network configuration, if it is in its place.
    pub(super) conflist: Option<PathBuf>,
    /// What is not as it should be, a sentence each.
    pub(super) problems: Vec<String>,
}

/// What was last found.
#[derive(Debug, Default)]
pub(crate) struct View(RefCell<Findings>);

impl View {
    /// The network configuration, once it is written.
    pub(crate) fn conflist(&self) -> Option<String> {
        self.0.borrow().conflist.as_ref().map(|path| path.display().to_string())
    }

    /// What is not as it should be, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.borrow().problems.clone()
    }

    pub(super) fn set(&self, findings: Findings) {
        let before = self.0.replace(findings);
        let now = self.0.borrow();
        for problem in now.problems.iter().filter(|problem| !before.problems.contains(problem)) {
            log::warn!("{problem}");
        }
    }
}
