//! A socket of `sock_diag(7)`: questions about the sockets of its network namespace, and their end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};
use nix::errno::Errno;

use crate::node::netlink;

/// `AF_INET` and `AF_INET6`.
pub(super) const INET: u8 = 2;
pub(super) const INET6: u8 = 10;
/// Both families.
pub(super) const FAMILIES: [u8; 2] = [INET, INET6];

/// Types of messages: `NLMSG_ERROR`, `NLMSG_DONE`, `SOCK_DIAG_BY_FAMILY`, `SOCK_DESTROY`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// Attributes: `INET_DIAG_REQ_BYTECODE` of a question, `INET_DIAG_SKV6ONLY` of an answer.
const BYTECODE: u16 = 1;
const V6_ONLY: u16 = 11;

/// Bytes of a netlink header, an attribute's header, `inet_diag_sockid` and `inet_diag_msg`.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
const ID: usize = 48;
const ANSWER: usize = 72;

/// Most that the kernel puts into one datagram of a dump.
const DATAGRAM: usize = 32 * 1024;

/// Sets of TCP's states, which other protocols borrow: `1 << TCP_...` of `net/tcp_states.h`.
pub(super) struct State;

impl State {
    pub(super) const ESTABLISHED: u32 = 1 << 1;
    pub(super) const CLOSE: u32 = 1 << 7;
    pub(super) const LISTEN: u32 = 1 << 10;
    /// Established, opening by our side, and all that come before the last acknowledgment.
    pub(super) const CONNECTED: u32 = Self::ESTABLISHED | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
}

/// Which sockets are asked for.
pub(super) struct Query<'a> {
    pub(super) family: u8,
    pub(super) protocol: u8,
    pub(super) states: u32,
    /// Made by [`super::filter`]; empty for all.
    pub(super) filter: &'a [u8],
}

/// A socket.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    family: u8,
    id: [u8; ID],
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) uid: u32,
    pub(super) inode: u32,
    /// Of a socket of IPv6: that it takes nothing of IPv4.
    pub(super) v6_only: bool,
}

impl Entry {
    /// `inet_diag_msg` and its attributes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let family = *bytes.first()?;
        let id: [u8; ID] = *bytes.get(4..)?.first_chunk()?;
        let port = |at| Some(u16::from_be_bytes(*id.get(at..)?.first_chunk()?));
        let address = |at: usize| -> Option<IpAddr> {
            match family {
                INET => Some(Ipv4Addr::from(*id.get(at..)?.first_chunk::<4>()?).into()),
                INET6 => Some(Ipv6Addr::from(*id.get(at..)?.first_chunk::<16>()?).into()),
                _ => None,
            }
        };
        let mut v6_only = false;
        let mut rest = bytes.get(ANSWER..)?;
        while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
            let length = usize::from(length).max(ATTRIBUTE);
            if kind == V6_ONLY {
                v6_only = rest.get(ATTRIBUTE).is_some_and(|only| *only != 0);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self {
            family,
            id,
            local: SocketAddr::new(address(4)?, port(0)?),
            remote: SocketAddr::new(address(20)?, port(2)?),
            uid: word(bytes, ANSWER - 8)?,
            inode: word(bytes, ANSWER - 4)?,
            v6_only,
        })
    }
}

/// Whether the kernel does not know the protocol, the family, or how to end a socket.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    let unknown = [Errno::ENOENT, Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT];
    unknown.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Diag {
    raw: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Diag {
    pub(super) fn open() -> io::Result<Self> {
        let mut raw = Socket::new(NETLINK_SOCK_DIAG)?;
        raw.bind_auto()?;
        raw.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self { raw, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Every socket that matches; `None` if the kernel cannot list the protocol's.
    pub(super) fn list(&mut self, query: &Query<'_>) -> io::Result<Option<Vec<Entry>>> {
        let mut body = request(query.family, query.protocol, query.states, &[0; ID]);
        if !query.filter.is_empty() {
            let length = u16::try_from(ATTRIBUTE + query.filter.len()).map_err(io::Error::other)?;
            body.extend(length.to_ne_bytes());
            body.extend(BYTECODE.to_ne_bytes());
            body.extend(query.filter);
        }
        let mut entries = Vec::new();
        let listed = self.exchange(BY_FAMILY, NLM_F_DUMP, &body, |answer| entries.extend(Entry::parse(answer)));
        match listed {
            Err(error) if is_unknown(&error) => Ok(None),
            listed => listed.map(|()| Some(entries)),
        }
    }

    /// Ends a socket: its process is told that the connection was aborted.
    pub(super) fn destroy(&mut self, protocol: u8, entry: &Entry) -> io::Result<()> {
        self.exchange(DESTROY, NLM_F_ACK, &request(entry.family, protocol, u32::MAX, &entry.id), |_| {})
    }

    /// Sends a request and hands on its answers, until the kernel says that there are no more.
    fn exchange(&mut self, kind: u16, flags: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.raw.send(&netlink::message(kind, flags, self.sequence, body), 0)?;
        loop {
            self.buffer.clear();
            self.raw.recv(&mut self.buffer, 0)?;
            let mut rest = self.buffer.as_slice();
            while let (Some(length), Some(kind), Some(sequence)) = (word(rest, 0), half(rest, 4), word(rest, 8)) {
                let length = usize::try_from(length).unwrap_or(usize::MAX).max(HEADER);
                let answer = rest.get(HEADER..length).unwrap_or_default();
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    // Both begin with an error number, negative, or 0 for success.
                    ERROR | DONE => {
                        let code = answer.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code == 0 {
                            Ok(())
                        } else {
                            Err(io::Error::from_raw_os_error(code.saturating_neg()))
                        };
                    }
                    BY_FAMILY => each(answer),
                    _ => {}
                }
            }
        }
    }
}

/// `inet_diag_req_v2`.
fn request(family: u8, protocol: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut request = vec![family, protocol, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend(id);
    request
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
