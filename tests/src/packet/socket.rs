//! Packet sockets: whole Ethernet frames in and out of one device. See packet(7).
#![expect(unsafe_code, reason = "no crate in use makes a sockaddr_ll")]

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netns::Netns;

/// A socket that sees every frame of one device and sends any.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
}

impl FrameSocket {
    /// Listens on a device from now on.
    pub fn open(netns: &Netns, device: &str) -> Result<Self> {
        netns.enter(|| {
            let every = u16::try_from(libc::ETH_P_ALL)?.to_be();
            let protocol = Protocol::from(i32::from(every));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).context("open a packet socket")?;
            let index = if_nametoindex(device).with_context(|| format!("find {device} in {}", netns.name()))?;
            socket.bind(&address(every, i32::try_from(index)?)?).with_context(|| format!("bind to {device}"))?;
            // What other devices received before the socket was bound is not wanted.
            socket.set_nonblocking(true).context("drain a socket")?;
            let mut scrap = [0; 1];
            while (&socket).read(&mut scrap).is_ok() {}
            socket.set_nonblocking(false).context("drain a socket")?;
            Ok(Self { socket })
        })?
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        (&self.socket).write_all(frame).context("send a frame")
    }

    /// The first frame within the time that a test of its bytes accepts.
    pub fn wait_for(&self, limit: Duration, accepts: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        let until = Instant::now() + limit;
        let mut frame = vec![0; 65_536];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).context("set a deadline")?;
            match (&self.socket).read(&mut frame) {
                Ok(len) if accepts(&frame[..len]) => return Ok(Some(frame[..len].to_vec())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("receive a frame"),
            }
        }
    }

    /// Every frame until the device has been silent for that long.
    pub fn until_silent(&self, silence: Duration) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.wait_for(silence, |_| true)? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// The address of a device for frames of every protocol.
fn address(protocol: u16, index: i32) -> Result<SockAddr> {
    let family = u16::try_from(libc::AF_PACKET)?;
    // SAFETY: the storage is zeroed and larger than a sockaddr_ll, all of whose bit patterns are valid.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = family;
            (*link).sll_protocol = protocol;
            (*link).sll_ifindex = index;
            *len = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
            Ok(())
        })
    }
    .context("make a device's address")?;
    Ok(address)
}
