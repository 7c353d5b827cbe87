//! ICMP errors as a sender of UDP datagrams learns of them: `IP_RECVERR`, see ip(7) and ipv6(7).
#![expect(unsafe_code, reason = "no crate in use reads a socket's error queue")]

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result, bail};
use socket2::{Domain, SockRef, Socket, Type};

use crate::netns::Netns;

/// An ICMP error that belongs to a datagram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sent it.
    pub from: IpAddr,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The path's MTU, of a "too big"; else 0.
    pub info: u32,
}

/// A UDP socket that hears ICMP errors.
#[derive(Debug)]
pub struct Prober {
    socket: UdpSocket,
    v4: bool,
}

impl Prober {
    /// A socket in a namespace for targets of this family, from any port.
    pub fn open(netns: &Netns, v4: bool) -> Result<Self> {
        let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = netns.enter(|| Socket::new(domain, Type::DGRAM, None))?.context("open a UDP socket")?;
        let (level, name) =
            if v4 { (libc::IPPROTO_IP, libc::IP_RECVERR) } else { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) };
        set(&socket, level, name, 1).context("ask for ICMP errors")?;
        Ok(Self { socket: socket.into(), v4 })
    }

    /// Sends with this TTL or hop limit.
    pub fn ttl(&self, ttl: u8) -> Result<()> {
        let socket = SockRef::from(&self.socket);
        if self.v4 { socket.set_ttl_v4(ttl.into()) } else { socket.set_unicast_hops_v6(ttl.into()) }
            .context("set a TTL")
    }

    /// Never fragments: a datagram too big for the path is an error.
    pub fn discover_mtu(&self) -> Result<()> {
        let (level, name, value) = if self.v4 {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
        };
        set(&SockRef::from(&self.socket), level, name, value).context("ask for path MTU discovery")
    }

    /// Sends a datagram of this size; an error that an earlier one met is not this one's.
    pub fn send(&self, target: SocketAddr, size: usize) -> Result<()> {
        let payload = vec![0x5a; size];
        for _ in 0..3 {
            match self.socket.send_to(&payload, target) {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Err(error).context("the path is known to be too narrow");
                }
                Err(_) => {}
            }
        }
        bail!("nothing can be sent to {target}")
    }

    /// The next ICMP error, in two seconds at most.
    pub fn error(&self) -> Result<IcmpError> {
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            match self.queued()? {
                Some(error) => return Ok(error),
                None if Instant::now() > until => bail!("no ICMP error came"),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn queued(&self) -> Result<Option<IcmpError>> {
        let mut control = [0_u64; 64];
        // SAFETY: all of these are plain numbers and pointers; the buffers outlive the call, and their sizes are theirs.
        let (result, message) = unsafe {
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let result =
                libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT);
            (result, message)
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(None);
            }
            return Err(error).context("read the error queue");
        }
        // SAFETY: the kernel filled the control buffer, and the macros walk what it filled.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while !header.is_null() {
                let kind = ((*header).cmsg_level, (*header).cmsg_type);
                if [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)].contains(&kind) {
                    return Ok(Some(understand(libc::CMSG_DATA(header))));
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        bail!("an error without its description")
    }
}

/// # Safety
///
/// `data` is a `sock_extended_err` and behind it the address of who sent it, as the kernel wrote both.
unsafe fn understand(data: *const u8) -> IcmpError {
    // SAFETY: the caller's promise; reads may be unaligned.
    unsafe {
        let what = data.cast::<libc::sock_extended_err>().read_unaligned();
        let offender = data.add(size_of::<libc::sock_extended_err>());
        let family = offender.cast::<libc::sa_family_t>().read_unaligned();
        let from = if i32::from(family) == libc::AF_INET6 {
            Ipv6Addr::from(offender.cast::<libc::sockaddr_in6>().read_unaligned().sin6_addr.s6_addr).into()
        } else {
            let address = offender.cast::<libc::sockaddr_in>().read_unaligned();
            Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into()
        };
        IcmpError { from, kind: what.ee_type, code: what.ee_code, info: what.ee_info }
    }
}

fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: an int and its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
