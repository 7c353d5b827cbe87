//! Tests that are not asked of a machine, each with its reason; every other test has to pass there.

/// A kernel's first two numbers.
pub(crate) type Version = (u32, u32);

/// Tests that some kernel or any emulated machine cannot be asked for.
pub(crate) struct Exclusion {
    /// A part of the test's name `program::module::test`.
    pub(crate) part: &'static str,
    /// Kernels older than this; all of them if there is none.
    before: Option<Version>,
    /// Why.
    pub(crate) reason: &'static str,
}

/// What is left out. One that fits no test any more fails the run.
pub(crate) const EXCLUSIONS: [Exclusion; 6] = [
    Exclusion { part: "tcx", before: Some((6, 6)), reason: "TCX came with 6.6; the same runs with clsact" },
    Exclusion { part: "containerd::", before: None, reason: "needs containerd and its images" },
    Exclusion { part: "containerd_kubernetes::", before: None, reason: "needs containerd and its images" },
    Exclusion { part: "image::", before: None, reason: "needs cargo to make the image and containerd to run it" },
    Exclusion { part: "packages::", before: None, reason: "compares files of the checkout, and has no kernel in it" },
    Exclusion {
        part: "program_cost::",
        before: None,
        reason: "nanoseconds of a program: an emulated processor says nothing about them",
    },
];

impl Exclusion {
    /// Whether this kernel is not asked for that test.
    pub(crate) fn covers(&self, kernel: Version, test: &str) -> bool {
        self.before.is_none_or(|version| kernel < version) && test.contains(self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcx_is_left_out_before_6_6_only() {
        let tcx = EXCLUSIONS.iter().find(|exclusion| exclusion.part == "tcx").unwrap();
        assert!(tcx.covers((5, 10), "guard::overlay_tcx") && tcx.covers((6, 1), "guard::overlay_tcx"));
        assert!(!tcx.covers((6, 12), "guard::overlay_tcx") && !tcx.covers((5, 10), "guard::overlay_clsact"));
    }
}
