//! One thing that was looked at.

use serde::Serialize;

/// What was looked at, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) found: String,
    pub(super) verdict: Verdict,
    /// What a lack costs, or what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// What it means for weft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// All is well.
    Ok,
    /// Weft runs, and the note says which feature is missing or slow.
    Degraded,
    /// Weft does not run, and the note says what to do.
    Missing,
    /// This process cannot tell, and the note says why.
    Unknown,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    pub(super) fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), found: found.into(), verdict: Verdict::Ok, note: None }
    }

    /// `cost` is what is missing or slow without it.
    pub(super) fn degraded(what: impl Into<String>, found: impl Into<String>, cost: impl Into<String>) -> Self {
        Self { verdict: Verdict::Degraded, note: Some(cost.into()), ..Self::ok(what, found) }
    }

    /// `remedy` is what makes it come.
    pub(super) fn missing(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Missing, note: Some(remedy.into()), ..Self::ok(what, found) }
    }

    pub(super) fn unknown(what: impl Into<String>, found: impl Into<String>, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, note: Some(why.into()), ..Self::ok(what, found) }
    }

    /// The same, with a word about what is well.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict == Verdict::Ok
    }
}
