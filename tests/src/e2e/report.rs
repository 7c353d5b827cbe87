//! What came of the scenarios: a table for people, JSON for programs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "detail", rename_all = "kebab-case")]
pub enum Verdict {
    /// All of it held; what was seen.
    Passed(String),
    /// Something did not hold; what.
    Failed(String),
    /// The cluster cannot host it; why.
    NotApplicable(String),
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "FAILED",
            Self::NotApplicable(_) => "not applicable",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Passed(detail) | Self::Failed(detail) | Self::NotApplicable(detail) => detail,
        }
    }
}

/// A scenario's row.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    scenario: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
    seconds: f64,
}

impl Line {
    pub(super) fn new(scenario: &'static str, verdict: Verdict, time: Duration) -> Self {
        Self { scenario, verdict, seconds: (time.as_secs_f64() * 10.0).round() / 10.0 }
    }

    pub(super) fn told(&self) -> String {
        format!("{} ({:.1} s): {}", self.verdict.word(), self.seconds, self.verdict.detail())
    }
}

/// All rows, and the cluster that they are about.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    cluster: Vec<String>,
    scenarios: Vec<Line>,
    passed: usize,
    failed: usize,
    not_applicable: usize,
}

impl Report {
    pub(super) fn new(cluster: Vec<String>, scenarios: Vec<Line>) -> Self {
        let count = |of: fn(&Verdict) -> bool| scenarios.iter().filter(|line| of(&line.verdict)).count();
        let passed = count(|verdict| matches!(verdict, Verdict::Passed(_)));
        let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
        let not_applicable = count(|verdict| matches!(verdict, Verdict::NotApplicable(_)));
        Self { cluster, scenarios, passed, failed, not_applicable }
    }

    /// Whether something was seen to work, and nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = String::new();
        for Line { scenario, verdict, seconds } in &self.scenarios {
            writeln!(rows, "{scenario:<18}  {:<14}  {seconds:>6.1}  {}", verdict.word(), verdict.detail())?;
        }
        for fact in &self.cluster {
            writeln!(f, "{fact}")?;
        }
        write!(f, "\n{:<18}  {:<14}  {:>6}  DETAIL\n{rows}\n", "SCENARIO", "RESULT", "TIME/s")?;
        let Self { passed, failed, not_applicable, .. } = self;
        writeln!(f, "{passed} passed, {failed} failed, {not_applicable} not applicable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_never_counted_as_passed() {
        let line = |verdict| Line::new("one", verdict, Duration::from_millis(1234));
        let verdicts = [Verdict::Passed("a".into()), Verdict::NotApplicable("b".into())];
        let report = Report::new(vec!["1 node".into()], verdicts.map(line).to_vec());
        assert!(report.is_good());
        assert_eq!((report.passed, report.failed, report.not_applicable), (1, 0, 1));
        let text = report.to_string();
        assert!(text.contains("one                 not applicable     1.2  b\n"), "{text}");
        assert!(text.ends_with("1 passed, 0 failed, 1 not applicable\n"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["scenarios"][1]["result"], "not-applicable");
        assert_eq!(json["notApplicable"], 1);
        assert!(!Report::new(Vec::new(), vec![line(Verdict::Failed("c".into()))]).is_good());
        assert!(!Report::new(Vec::new(), vec![line(Verdict::NotApplicable("d".into()))]).is_good(), "nothing was seen");
    }
}
