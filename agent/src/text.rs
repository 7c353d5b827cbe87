//! Errors as one line for people.

use std::error::Error;

/// The error and its sources, outermost first, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error and its source say the same.
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open\n  the file")]
    struct Outer(#[from] std::io::Error);

    #[test]
    fn sources_are_joined_on_one_line() {
        let error = Outer(std::io::Error::other("disk gone"));
        assert_eq!(chain(&error), "cannot open the file: disk gone");
    }
}
