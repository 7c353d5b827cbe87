//! What the kernel tells of an open link: its `fdinfo` (proc(5)).

use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::datapath::DatapathError;

/// The numbers of these names; 0 for one that is not there.
pub(in crate::datapath) fn read<const N: usize>(fd: RawFd, names: [&str; N]) -> Result<[u64; N], DatapathError> {
    let path = PathBuf::from(format!("/proc/self/fdinfo/{fd}"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text, names)),
        Err(source) => Err(DatapathError::File { call: "read", path, source }),
    }
}

fn parse<const N: usize>(fdinfo: &str, names: [&str; N]) -> [u64; N] {
    names.map(|name| {
        let mut values = fdinfo.lines().filter_map(|line| line.split_once(':')).filter(|(found, _)| *found == name);
        values.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_names_program_and_place() {
        let tcx = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t2057\nlink_type:\ttcx\nlink_id:\t7\n\
                   prog_tag:\t3b185187f1855c4c\nprog_id:\t42\nifindex:\t9\nattach_type:\t46 (tcx_ingress)\n";
        assert_eq!(parse(tcx, ["link_id", "prog_id", "ifindex"]), [7, 42, 9]);
        let cgroup = "link_type:\tcgroup\nlink_id:\t8\nprog_id:\t43\ncgroup_id:\t8589934593\nattach_type:\t11\n";
        assert_eq!(parse(cgroup, ["cgroup_id", "ifindex"]), [8_589_934_593, 0]);
        assert_eq!(parse("", ["link_id"]), [0]);
    }
}
