//! Which folder of a crate may name which.

use std::path::Path;

use super::Finding;

/// A folder, and what its files may not name.
struct Fence {
    folder: &'static str,
    forbidden: &'static [&'static str],
    why: &'static str,
}

const FENCES: [Fence; 5] = [
    Fence {
        folder: "agent/src/datapath",
        forbidden: &["crate::api", "crate::cli", "crate::config", "crate::ipam", "crate::k8s", "crate::monitor"],
        why: "the datapath knows endpoints and maps, nothing above them",
    },
    Fence {
        folder: "agent/src/node",
        forbidden: &["crate::api", "crate::cli", "crate::config", "crate::datapath", "crate::ipam", "crate::k8s"],
        why: "devices and routes know endpoints, nothing above or beside them",
    },
    Fence {
        folder: "agent/src/ipam",
        forbidden: &["crate::api", "crate::datapath", "crate::node", "crate::k8s"],
        why: "pools are pure",
    },
    Fence { folder: "agent/src/k8s", forbidden: &["crate::datapath"], why: "Kubernetes never sees the datapath" },
    Fence { folder: "bpf/src/stage", forbidden: &["crate::hook"], why: "a stage serves any hook" },
];

/// The one folder that may use aya, in the agent.
const AYA: &str = "agent/src/datapath";

/// Checks a file's paths against the fences.
pub(crate) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    for (number, line) in code.map(|(index, line)| (index + 1, line)) {
        for fence in FENCES.iter().filter(|fence| path.starts_with(fence.folder)) {
            for name in fence.forbidden.iter().filter(|name| names(line, name)) {
                findings.push(Finding::at(path, number, format!("`{name}` from {}: {}", fence.folder, fence.why)));
            }
        }
        if path.starts_with("agent/src") && !path.starts_with(AYA) && names(line, "aya::") {
            findings.push(Finding::at(path, number, format!("only {AYA} uses aya")));
        }
    }
    findings
}

/// Whether the line names that path, and not a longer word that ends or begins like it.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !in_word(before) && (path.ends_with(':') || !in_word(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(Path::new(path), text).len()
    }

    #[test]
    fn the_node_does_not_know_the_datapath() {
        assert_eq!(count("agent/src/node/links.rs", "use crate::datapath::Datapath;\n"), 1);
        assert_eq!(count("agent/src/endpoint/links.rs", "use crate::datapath::Datapath;\n"), 0);
    }

    #[test]
    fn aya_has_one_user() {
        assert_eq!(count("agent/src/monitor/mod.rs", "use aya::maps::RingBuf;\n"), 1);
        assert_eq!(count("agent/src/datapath/maps.rs", "use aya::maps::RingBuf;\n"), 0);
    }

    #[test]
    fn comments_and_longer_words_do_not_count() {
        assert_eq!(count("agent/src/node/a.rs", "// crate::datapath\nuse crate::apis;\nlet maya::b = c;\n"), 0);
    }
}
