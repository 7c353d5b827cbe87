//! What can go wrong between the agent and the node's network devices.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use nix::errno::Errno;

/// A netlink request or a sysctl failed, or the node is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No socket, or no thread to serve it.
    #[error("cannot open a netlink socket ({call})")]
    Open {
        /// What was called.
        call: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The thread that serves the socket is gone.
    #[error("the netlink thread has stopped: restart weft-agent")]
    Stopped,
    /// The kernel refused a request.
    #[error("{call} of {object} failed")]
    Netlink {
        /// The request.
        call: &'static str,
        /// What it was about.
        object: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A link could not be removed; every caller that waited for it is told.
    #[error("link {name} cannot be removed (RTM_DELLINK)")]
    Remove {
        /// Name of the link.
        name: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// The link belongs to somebody else.
    #[error("link {name} does not carry this agent's group and is left alone; remove it with `ip link delete {name}`")]
    NotOurs {
        /// Name of the link.
        name: String,
    },
    /// The name of the agent's own device is taken.
    #[error(
        "device {name} is not this agent's: stop the other agent of this network namespace and remove the device with \
         `ip link delete {name}`"
    )]
    DeviceTaken {
        /// Name of the device.
        name: &'static str,
    },
    /// A pod might be given an address of the node.
    #[error("pod CIDR {pool} holds {address} of device {device}: choose another --pod-cidr, or take the address away")]
    Overlap {
        /// The pool.
        pool: IpNet,
        /// The node's address.
        address: IpAddr,
        /// Where the node has it.
        device: String,
    },
    /// There is a pool of IPv6 and no IPv6.
    #[error("pod CIDR {pool} needs IPv6, which this node has turned off: turn it on with `{remedy}`, or leave it out")]
    NoIpv6 {
        /// The pool.
        pool: IpNet,
        /// What turns it on.
        remedy: &'static str,
    },
    /// Something else on the node receives on the overlay's port.
    #[error("UDP port {port} is taken: remove the other VXLAN device or socket, or choose another --overlay-port")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A kernel without VXLAN.
    #[error("this kernel has no VXLAN: load its module with `modprobe vxlan`, or set routing = \"native\"")]
    NoVxlan,
    /// A kernel that cannot hold rates.
    #[error("limits need a queue, and this kernel has no {modules}: load the module, or set another shaper")]
    NoShaper {
        /// What would do.
        modules: String,
    },
    /// There is no shaper.
    #[error("no limit can be held: {why}")]
    CannotLimit {
        /// What was said when it was to be made.
        why: String,
    },
    /// There is a route already, and it is not ours.
    #[error("a route to {range} that is not weft's is in the way: remove it, or the range from its peer")]
    RouteTaken {
        /// Its destination.
        range: IpNet,
    },
    /// A sysctl cannot be read or set.
    #[error(
        "{path} cannot be set to {value}: mount the node's /proc/sys/net writable and name where by proc-dir, or set it before"
    )]
    Sysctl {
        /// Its file.
        path: PathBuf,
        /// What it must be.
        value: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// An object that an endpoint needs is not there.
    #[error("{object} is missing")]
    Missing {
        /// What is missing.
        object: String,
    },
    /// An object that an endpoint needs is not as it should be.
    #[error("{object} is {found} instead of {expected}")]
    Differs {
        /// What differs.
        object: String,
        /// What the kernel has.
        found: String,
        /// What the endpoint needs.
        expected: String,
    },
}

/// Makes an error of a netlink request out of what the kernel answered.
pub(super) fn failed<T: Into<String>>(
    call: &'static str,
    object: impl FnOnce() -> T,
) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::Netlink { call, object: object().into(), source }
}

/// Whether the kernel has no such protocol, as one without IPv6.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    is(error, Errno::EAFNOSUPPORT) || is(error, Errno::EOPNOTSUPP)
}

/// Takes an answer that says "not there" for success.
pub(super) fn unless_gone(answer: io::Result<()>, gone: Errno) -> io::Result<()> {
    match answer {
        Err(error) if is(&error, gone) => Ok(()),
        other => other,
    }
}

/// Whether the error is that one of the kernel's.
pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
