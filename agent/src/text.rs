//! Errors and long lists as one line for people.

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

/// The first so many, and how many more there are.
pub(crate) fn first_of<T: AsRef<str>>(most: usize, all: &[T]) -> String {
    let named: Vec<&str> = all.iter().take(most).map(AsRef::as_ref).collect();
    let named = named.join(", ");
    match all.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
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

    #[test]
    fn of_many_some_are_named() {
        assert_eq!(first_of(3, &["a", "b", "c"]), "a, b, c");
        assert_eq!(first_of(3, &["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
