//! What a machine says, held against what it was asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Kernel;

/// The first line of the kernel's log that counts.
const BEGIN: &str = "weft: the tests begin";

/// The level of warnings in the kernel's log; lower is worse.
const WARNING: u32 = 4;

/// Bits of the kernel's taint: it has died, warned, locked up.
const TAINTS: u64 = 1 << 7 | 1 << 9 | 1 << 14;

/// A machine's run. Only what was said counts: what is missing has failed.
pub(crate) struct Report {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// What makes the run a failure, a line each.
    pub(crate) problems: Vec<String>,
    /// Where console and output are kept.
    pub(crate) dir: PathBuf,
    started: Instant,
    release: String,
    /// Not yet heard of.
    missing: BTreeSet<String>,
    program: String,
    /// A test whose result stands on a later line, behind what its processes print.
    running: Option<String>,
    /// Reads the kernel's log instead of tests' output.
    in_log: bool,
    log_begun: bool,
    ended: Option<Duration>,
}

impl Report {
    /// Of a machine that has said nothing yet.
    pub(crate) fn new(kernel: &Kernel, asked: BTreeSet<String>, dir: PathBuf) -> Self {
        Self {
            passed: 0,
            problems: Vec::new(),
            dir,
            started: Instant::now(),
            release: kernel.release.clone(),
            missing: asked,
            program: String::new(),
            running: None,
            in_log: false,
            log_begun: false,
            ended: None,
        }
    }

    /// Notes what makes the run a failure.
    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Takes in a line.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(said) = line.strip_prefix("== ") {
            self.mark(said);
        } else if self.in_log {
            self.kernel(line);
        } else if let Some(test) = line.strip_prefix("test ") {
            self.test(test);
        } else {
            self.result(line);
        }
    }

    /// Seconds from power on to the end, and everything that is wrong.
    pub(crate) fn close(mut self) -> (u64, Self) {
        for test in std::mem::take(&mut self.missing) {
            self.problem(format!("{test} did not run to its end"));
        }
        if !self.log_begun {
            self.problem("the kernel's log is not complete".into());
        }
        let seconds = self.ended.unwrap_or_else(|| self.started.elapsed()).as_secs();
        if self.ended.is_none() {
            self.problem("the machine stopped before its end".into());
        }
        if self.passed == 0 {
            self.problem("no test passed".into());
        }
        (seconds, self)
    }

    /// A line of the machine's first process.
    fn mark(&mut self, said: &str) {
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "release" if rest == self.release => {}
            "release" => self.problem(format!("kernel {} came up as {rest}", self.release)),
            "run" => rest.clone_into(&mut self.program),
            "exit" if rest.ends_with(" 0") => {}
            "exit" => self.problem(format!("exit status of {rest}")),
            "log" => self.in_log = true,
            "taint" => match rest.parse::<u64>() {
                Ok(taint) if taint & TAINTS == 0 => {}
                _ => self.problem(format!("the kernel is tainted: {rest}")),
            },
            "end" => self.ended = Some(self.started.elapsed()),
            _ => self.problem(format!("unexpected: {said}")),
        }
    }

    /// The rest of a line `test name ... ok`.
    fn test(&mut self, line: &str) {
        let Some((name, result)) = line.split_once(" ... ") else { return };
        self.running = Some(format!("{}::{name}", self.program));
        self.result(result);
    }

    fn result(&mut self, result: &str) {
        let Some(name) = self.running.take_if(|_| matches!(result, "ok" | "FAILED")) else { return };
        if self.missing.remove(&name) && result == "ok" {
            self.passed += 1;
        } else {
            self.problem(format!("{name} failed"));
        }
    }

    /// A line `<4>[   12.345678] text` of the kernel's log.
    fn kernel(&mut self, line: &str) {
        self.log_begun |= line.contains(BEGIN);
        let level =
            line.strip_prefix('<').and_then(|rest| rest.split_once('>')).and_then(|(level, _)| level.parse().ok());
        if level.is_some_and(|level: u32| level & 7 <= WARNING) && !line.contains(BEGIN) {
            self.problem(format!("kernel: {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 11] = [
        "== release 6.1.0-50-cloud-amd64",
        "== run guard",
        "test a::b ... ok",
        "test c ... ok",
        "test result: ok. 2 passed; 0 failed",
        "== exit guard 0",
        "== log",
        "<12>[    3.100000] weft: the tests begin",
        "<6>[    3.200000] veth0: link becomes ready",
        "== taint 0",
        "== end",
    ];

    fn problems(lines: impl IntoIterator<Item = &'static str>) -> Vec<String> {
        let mut report = Report {
            passed: 0,
            problems: Vec::new(),
            dir: PathBuf::new(),
            started: Instant::now(),
            release: "6.1.0-50-cloud-amd64".into(),
            missing: ["guard::a::b", "guard::c"].map(str::to_owned).into(),
            program: String::new(),
            running: None,
            in_log: false,
            log_begun: false,
            ended: None,
        };
        lines.into_iter().for_each(|line| report.add(line));
        report.close().1.problems
    }

    fn without(at: usize) -> Vec<String> {
        problems(GOOD.into_iter().enumerate().filter(|(index, _)| *index != at).map(|(_, line)| line))
    }

    fn with(from: &str, to: &'static str) -> Vec<String> {
        problems(GOOD.map(|line| if line == from { to } else { line }))
    }

    #[test]
    fn all_that_was_asked_for_and_no_complaint_is_a_success() {
        assert_eq!(problems(GOOD), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_said_has_failed() {
        assert_eq!(without(3), ["guard::c did not run to its end"]);
        assert_eq!(without(7), ["the kernel's log is not complete"]);
        assert_eq!(without(10), ["the machine stopped before its end"]);
        assert_eq!(problems([]).len(), 5);
    }

    #[test]
    fn failures_and_bad_ends_are_told() {
        assert_eq!(with("test c ... ok", "test c ... FAILED"), ["guard::c failed"]);
        assert_eq!(with("test c ... ok", "test c ... ignored"), ["guard::c did not run to its end"]);
        assert_eq!(with("== exit guard 0", "== exit guard 137"), ["exit status of guard 137"]);
        assert_eq!(with("== taint 0", "== taint 512"), ["the kernel is tainted: 512"]);
    }

    #[test]
    fn a_result_may_stand_behind_what_a_process_prints() {
        let lines = ["== run guard", "test c ... loading", "still loading", "ok"];
        assert_eq!(problems(lines).iter().filter(|problem| problem.contains("guard::c")).count(), 0);
        assert!(problems(["== run guard", "test c ... loading"]).contains(&"guard::c did not run to its end".into()));
    }

    #[test]
    fn a_warning_of_the_kernel_fails_the_run() {
        let line = "<4>[    3.200000] WARNING: CPU: 0";
        assert_eq!(with("<6>[    3.200000] veth0: link becomes ready", line), [format!("kernel: {line}")]);
    }
}
