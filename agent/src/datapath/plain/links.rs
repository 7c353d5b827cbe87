//! Links of bpf(2), by their descriptors: aya keeps those of cgroups to itself.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `union bpf_attr` for an object of the BPF filesystem.
#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr` for another program in a link.
#[repr(C)]
struct Update {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Opens what is pinned there.
pub(in crate::datapath) fn open(pin: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(pin.as_os_str().as_bytes())?;
    let attr = Object { pathname: name.as_ptr().expose_provenance() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the name ends with a zero and lives until the call is over.
    let fd = unsafe { bpf(BPF_OBJ_GET, &attr) }?;
    // SAFETY: the descriptor is open, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has a link run another program from now on (`BPF_LINK_UPDATE`, kernel 5.7).
pub(in crate::datapath) fn update(link: BorrowedFd, program: BorrowedFd) -> io::Result<()> {
    let attr = Update { link_fd: number(link), new_prog_fd: number(program), flags: 0, old_prog_fd: 0 };
    // SAFETY: the attributes are numbers.
    unsafe { bpf(BPF_LINK_UPDATE, &attr) }.map(drop)
}

/// Takes a link off its device or cgroup at once, whatever still refers to it (`BPF_LINK_DETACH`, kernel 5.9).
///
/// Letting go of the last pin does it as well, but a grace period later and in the kernel's own time.
pub(in crate::datapath) fn detach(link: BorrowedFd) -> io::Result<()> {
    // SAFETY: the attribute is a number; the rest of the union counts as zero.
    unsafe { bpf(BPF_LINK_DETACH, &number(link)) }.map(drop)
}

/// The kernel's number for the network namespace that a socket is in (`SO_NETNS_COOKIE`, kernel 5.14).
pub(in crate::datapath) fn netns_cookie(socket: BorrowedFd) -> io::Result<u64> {
    let mut cookie = MaybeUninit::<u64>::uninit();
    let mut size = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or_default();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    // SAFETY: there is room for what the kernel is told.
    match unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, cookie.as_mut_ptr().cast(), &raw mut size) } {
        // SAFETY: the kernel has written it.
        0 => Ok(unsafe { cookie.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn number(fd: BorrowedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `attr` is what the command asks for, and what it points to lives.
unsafe fn bpf<A>(command: libc::c_int, attr: &A) -> io::Result<RawFd> {
    // SAFETY: the kernel reads as many bytes as it is told to; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or_default()) }
}
