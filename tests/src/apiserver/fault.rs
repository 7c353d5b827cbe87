//! What a test lets go wrong.

use std::time::Duration;

/// How the server misbehaves; nothing of it by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every answer comes so much later.
    pub delay: Duration,
    /// What comes instead of each answer.
    pub bad: Option<Bad>,
    /// Whether streams stay open and tell nothing any more, not even their end.
    pub silent: bool,
    /// Only requests for this resource, as in paths, are answered badly or late.
    pub only: Option<&'static str>,
}

/// What comes instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Nothing: the connection ends.
    HangUp,
    /// The page of some proxy, with status 200; in open streams as well.
    Garbage,
    /// The answer's first half.
    Truncated,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 410.
    Gone,
    /// 429, and when to ask again.
    Busy {
        /// `Retry-After`.
        seconds: u64,
    },
    /// 500.
    Broken,
}

/// What a proxy says of itself.
pub(super) const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n";
