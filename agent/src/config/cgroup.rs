//! Where the cgroup v2 hierarchy is mounted.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::ConfigError;

/// The directory that was named, or the mount point of the first cgroup2 filesystem; `None` without either.
pub(super) fn find(named: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = named else {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        return Ok(mount_point(&mounts));
    };
    let wrong = |why| ConfigError::Path { field: "cgroup", path: path.to_owned(), why };
    if !path.is_absolute() {
        return Err(wrong("is not absolute: begin it with /"));
    }
    match statfs(path) {
        Ok(found) if found.filesystem_type() == CGROUP2_SUPER_MAGIC => Ok(Some(path.to_owned())),
        Ok(_) => Err(wrong("is not on a cgroup2 filesystem: name where it is mounted, often /sys/fs/cgroup")),
        Err(_) => Err(wrong("cannot be read: name where cgroup2 is mounted, often /sys/fs/cgroup")),
    }
}

/// First mount point of type cgroup2 in the format of `/proc/mounts`: fstab(5).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cgroup2_counts() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\ncgroup2 /other cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup/uni fied")));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }
}
