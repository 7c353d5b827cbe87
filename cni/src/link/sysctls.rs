//! Sysctls of the pod's interface (Documentation/networking/ip-sysctl.rst).

use std::fs;
use std::io;

/// A sysctl could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{call} {path} failed: IPv6 must be available in the pod, and /proc/sys writable")]
pub(crate) struct SysctlError {
    call: &'static str,
    path: String,
    source: io::Error,
}

/// Turns IPv6 on for the interface and router advertisements off: its routes are ours. To be called inside the
/// pod's namespace.
pub(super) fn enable_ipv6(ifname: &str) -> Result<(), SysctlError> {
    let disable = format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6");
    // A write takes the lock that all of the node's network changes share; a read does not.
    let disabled = fs::read(&disable).map_err(failed("read", &disable))?;
    if disabled.trim_ascii() != b"0" {
        write(disable, "0")?;
    }
    write(format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra"), "0")
}

fn write(path: String, value: &str) -> Result<(), SysctlError> {
    fs::write(&path, value).map_err(|source| SysctlError { call: "write", path, source })
}

fn failed(call: &'static str, path: &str) -> impl FnOnce(io::Error) -> SysctlError {
    move |source| SysctlError { call, path: path.to_owned(), source }
}
