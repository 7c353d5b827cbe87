//! What the process may do (capabilities(7)), and what each is for.

use std::fs;

/// A right that the kernel grants by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) name: &'static str,
    bit: u32,
    /// Whether `CAP_SYS_ADMIN` stands for it.
    by_admin: bool,
    pub(crate) lack: Lack,
}

/// What it means to be without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The agent cannot do this, and does not start.
    Stops(&'static str),
    /// This feature is missing.
    Costs(&'static str),
    /// This is missing, and a container is better off without the right.
    Spares(&'static str),
}

const SYS_ADMIN: u32 = 21;

/// Everything that the agent has a use for.
pub(crate) const ALL: [Capability; 5] = [
    Capability::new("CAP_NET_ADMIN", 12, false, Lack::Stops("devices, routes, and programs on devices")),
    Capability::new("CAP_BPF", 39, true, Lack::Stops("maps and programs")),
    Capability::new("CAP_PERFMON", 38, true, Lack::Stops("programs that read packets in place")),
    Capability::new(
        "CAP_NET_RAW",
        13,
        false,
        Lack::Costs("fragments that come before the first one of their datagram are lost"),
    ),
    Capability::new(
        "CAP_SYS_PTRACE",
        19,
        false,
        Lack::Spares("an error about a port that is taken names the user of the process that has it, not the process"),
    ),
];

/// Only a kernel that counts BPF memory by `RLIMIT_MEMLOCK` asks for it.
pub(crate) const RESOURCE: Capability =
    Capability::new("CAP_SYS_RESOURCE", 24, false, Lack::Stops("more memory for maps than RLIMIT_MEMLOCK"));

impl Capability {
    const fn new(name: &'static str, bit: u32, by_admin: bool, lack: Lack) -> Self {
        Self { name, bit, by_admin, lack }
    }

    /// Whether it is among these effective ones.
    pub(crate) fn is_in(&self, effective: u64) -> bool {
        let has = |bit: u32| effective & (1 << bit) != 0;
        has(self.bit) || self.by_admin && has(SYS_ADMIN)
    }
}

/// Those that this process can use now; all where the kernel does not tell.
pub(crate) fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse(&status).unwrap_or(u64::MAX)
}

/// Those without which the agent does not start, and what for; `CAP_BPF (maps and programs)`.
pub(crate) fn fatal_lacks(effective: u64) -> Vec<String> {
    lacks(effective)
        .filter_map(|capability| match capability.lack {
            Lack::Stops(what) => Some(format!("{} ({what})", capability.name)),
            Lack::Costs(_) | Lack::Spares(_) => None,
        })
        .collect()
}

/// What the agent runs without, a sentence each.
pub(crate) fn warnings(effective: u64) -> Vec<String> {
    lacks(effective)
        .filter_map(|capability| match capability.lack {
            Lack::Costs(what) => Some(format!("{what}, because weft-agent lacks {}: grant it", capability.name)),
            Lack::Stops(_) | Lack::Spares(_) => None,
        })
        .collect()
}

fn lacks(effective: u64) -> impl Iterator<Item = &'static Capability> {
    ALL.iter().filter(move |capability| !capability.is_in(effective))
}

fn parse(status: &str) -> Option<u64> {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacks_are_named_with_what_they_are_for() {
        assert_eq!(parse("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert!(fatal_lacks(u64::MAX).is_empty());
        assert!(fatal_lacks(1 << SYS_ADMIN | 1 << 12).is_empty());
        let lacks = fatal_lacks(1 << 12).join(", ");
        assert_eq!(lacks, "CAP_BPF (maps and programs), CAP_PERFMON (programs that read packets in place)");
        assert!(fatal_lacks(1 << 39 | 1 << 38)[0].starts_with("CAP_NET_ADMIN ("));
        assert_eq!(warnings(u64::MAX ^ 1 << 19), Vec::<String>::new());
        let warnings = warnings(u64::MAX ^ 1 << 13);
        assert!(warnings[0].contains("fragments") && warnings[0].contains("CAP_NET_RAW"), "{warnings:?}");
        assert!(RESOURCE.is_in(1 << 24) && !RESOURCE.is_in(1 << SYS_ADMIN));
    }
}
