//! Frames out of a device, as they are.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

/// A packet socket (packet(7)) that receives nothing.
#[derive(Debug)]
pub(crate) struct FrameSocket(OwnedFd);

impl FrameSocket {
    /// Opens the socket in the caller's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: takes numbers; protocol 0 is none.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a frame, Ethernet header included, out of the device of that index.
    pub(crate) fn send(&self, device: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: integers alone, for which zero is a value.
        let mut to: libc::sockaddr_ll = unsafe { zeroed() };
        to.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
        to.sll_ifindex = device.cast_signed();
        let size = libc::socklen_t::try_from(size_of_val(&to)).unwrap_or_default();
        // SAFETY: frame and address are as long as the kernel is told.
        let sent = unsafe {
            libc::sendto(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const to).cast(), size)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
