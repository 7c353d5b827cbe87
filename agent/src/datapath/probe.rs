//! What the system must have before anything is loaded.

use std::path::Path;

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::sys::utsname::uname;

use super::error::is;
use super::{AttachMode, DatapathError};
use crate::capability;

/// Major and minor number of a kernel.
type Version = (u32, u32);

/// The oldest kernel on which weft runs: `bpf_redirect_peer`.
const OLDEST: Version = (5, 10);

/// The kernel that brought TCX.
const TCX: Version = (6, 6);

/// The kernel that counts BPF memory by cgroup instead of `RLIMIT_MEMLOCK`.
const CGROUP_MEMORY: Version = (5, 11);

/// How programs get onto devices, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Tcx,
    Clsact,
}

/// Checks kernel, privileges and the place for the pins; chooses how programs are attached.
pub(super) fn probe(bpf_dir: &Path, mode: AttachMode) -> Result<Method, DatapathError> {
    let release = release()?;
    let kernel = parse_release(&release);
    let too_old =
        |feature, needs, remedy| DatapathError::KernelTooOld { feature, needs, found: release.clone(), remedy };
    if kernel < OLDEST {
        return Err(too_old("weft", "5.10", ""));
    }
    capabilities()?;
    if !on_bpffs(bpf_dir)? {
        return Err(DatapathError::NotBpffs { path: bpf_dir.to_owned() });
    }
    if kernel < CGROUP_MEMORY {
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
            .map_err(|errno| DatapathError::System { call: "setrlimit RLIMIT_MEMLOCK", source: errno.into() })?;
    }
    let tcx = has_tcx(kernel)?;
    match mode {
        AttachMode::Clsact => Ok(Method::Clsact),
        AttachMode::Tcx if !tcx => Err(too_old("attach = \"tcx\"", "6.6", "; set it to \"auto\"")),
        AttachMode::Tcx | AttachMode::Auto => Ok(if tcx { Method::Tcx } else { Method::Clsact }),
    }
}

/// Asks for the programs on `lo`, which every namespace has; an older kernel does not know the question.
fn has_tcx(kernel: Version) -> Result<bool, DatapathError> {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => Ok(true),
        Err(ProgramError::SyscallError(error)) if is(&error, Errno::ENOSYS) => Err(DatapathError::BpfDisabled),
        Err(ProgramError::SyscallError(error)) if is(&error, Errno::EINVAL) => Ok(false),
        // The capabilities are there, so it is something else that says no.
        Err(ProgramError::SyscallError(error)) if is(&error, Errno::EPERM) => Err(DatapathError::Forbidden),
        Err(_) => Ok(kernel >= TCX),
    }
}

/// Whether the directory, or the nearest one above it that exists, is on a BPF filesystem.
pub(crate) fn on_bpffs(directory: &Path) -> Result<bool, DatapathError> {
    for directory in directory.ancestors() {
        match statfs(directory) {
            Ok(found) => return Ok(found.filesystem_type() == BPF_FS_MAGIC),
            Err(Errno::ENOENT) => {}
            Err(Errno::EPERM) if has_dot(directory) => {
                return Err(DatapathError::DotInName { path: directory.to_owned() });
            }
            Err(errno) => {
                let path = directory.to_owned();
                return Err(DatapathError::File { call: "statfs", path, source: errno.into() });
            }
        }
    }
    Ok(false)
}

fn has_dot(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.as_encoded_bytes().contains(&b'.'))
}

fn capabilities() -> Result<(), DatapathError> {
    let lacks = capability::fatal_lacks(capability::effective());
    if lacks.is_empty() { Ok(()) } else { Err(DatapathError::MissingCapabilities { names: lacks.join(", ") }) }
}

/// The running kernel's release, and whether weft runs on it.
pub(crate) fn kernel() -> Result<(String, bool), DatapathError> {
    let release = release()?;
    let supported = parse_release(&release) >= OLDEST;
    Ok((release, supported))
}

/// Whether that kernel counts BPF memory by `RLIMIT_MEMLOCK`.
pub(crate) fn limits_memory(release: &str) -> bool {
    parse_release(release) < CGROUP_MEMORY
}

/// Whether programs get onto devices by TCX links.
pub(crate) fn tcx(release: &str) -> Result<bool, DatapathError> {
    has_tcx(parse_release(release))
}

pub(super) fn release() -> Result<String, DatapathError> {
    let names = uname().map_err(|errno| DatapathError::System { call: "uname", source: errno.into() })?;
    Ok(names.release().to_string_lossy().into_owned())
}

fn parse_release(release: &str) -> Version {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(parse_release("5.10.0-30-cloud-amd64"), (5, 10));
        assert_eq!(parse_release("6.18.44-fc-v657"), (6, 18));
        assert_eq!(parse_release("7.2-rc1"), (7, 2));
        assert!(parse_release("5.4.0") < OLDEST && parse_release("6.1.0") < TCX);
    }

    #[test]
    fn a_plain_directory_is_no_bpffs() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!on_bpffs(&directory.path().join("not/there")).unwrap());
    }
}
