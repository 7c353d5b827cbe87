//! Rules about a single file: how it begins, how long it is, what it silences.

use std::path::Path;

use super::Finding;

/// A file longer than this has more than one job.
const LINES_MAX: usize = 350;

/// Crates and files that may hold `unsafe`, each line of it with its SAFETY comment.
const UNSAFE: [&str; 5] = ["agent/src/datapath/plain", "bpf/src/maps", "bpf/src/skb", "bpf/src/sock", "tests/src"];

/// Checks a file by its text.
pub(crate) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push(Finding::at(path, 1, "the first line says what the file is for: `//! ...`"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::at(
            path,
            lines,
            format!("{lines} lines, at most {LINES_MAX}: which part is another job?"),
        ));
    }
    let may_be_unsafe = UNSAFE.iter().any(|allowed| path.starts_with(allowed));
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start())) {
        if line.starts_with("//") {
            continue;
        }
        if line.starts_with(concat!("#[", "allow(")) || line.starts_with(concat!("#![", "allow(")) {
            findings.push(Finding::at(path, number, "silence a lint by `#[expect(.., reason = \"..\")]`"));
        }
        let opens = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"];
        if !may_be_unsafe && opens.iter().any(|word| is_code(line, word)) {
            findings.push(Finding::at(path, number, "no `unsafe` here: it has one fenced module in the agent"));
        }
    }
    findings
}

/// Whether the word stands in the line outside of a string.
fn is_code(line: &str, word: &str) -> bool {
    line.find(word).is_some_and(|at| line[..at].matches('"').count().is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> usize {
        check(Path::new(path), text).len()
    }

    #[test]
    fn a_plain_file_is_fine() {
        assert_eq!(rules("cni/src/a.rs", "//! A.\nfn a() {}\n"), 0);
    }

    #[test]
    fn the_first_line_is_asked_for() {
        assert_eq!(rules("cni/src/a.rs", "fn a() {}\n"), 1);
    }

    #[test]
    fn length_is_bounded() {
        let text = format!("//! A.\n{}", "fn a() {}\n".repeat(LINES_MAX));
        assert_eq!(rules("cni/src/a.rs", &text), 1);
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = concat!("//! A.\nlet a = uns", "afe { b() };\n");
        assert_eq!(rules("cni/src/a.rs", text), 1);
        assert_eq!(rules("agent/src/datapath/plain/mod.rs", text), 0);
        let quoted = concat!("//! A.\nlet a = \"uns", "afe {\";\n// uns", "afe {\n");
        assert_eq!(rules("cni/src/a.rs", quoted), 0);
    }

    #[test]
    fn lints_are_expected_not_allowed() {
        let text = concat!("//! A.\n#[", "allow(dead_code)]\nfn a() {}\n");
        assert_eq!(rules("cni/src/a.rs", text), 1);
    }
}
