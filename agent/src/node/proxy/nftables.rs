//! Questions about tables and chains of nftables: `linux/netfilter/nfnetlink.h`, `nf_tables.h`.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use crate::node::netlink;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
pub(super) const FAMILIES: [(u8, &str); 2] = [(2, "IPv4"), (10, "IPv6")];

/// `NFT_MSG_GETTABLE` and `NFT_MSG_GETCHAIN` of the subsystem `NFNL_SUBSYS_NFTABLES`.
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_CHAIN: u16 = 10 << 8 | 4;

/// `NFTA_TABLE_NAME`; `NFTA_CHAIN_TABLE` and `NFTA_CHAIN_NAME`.
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// Bytes of a netlink header, and of an attribute's.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// One table or chain takes less.
const DATAGRAM: usize = 8192;

/// A socket of the thread's network namespace; `None` where the kernel has no such tables.
pub(super) struct Tables(Option<Socket>);

impl Tables {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = match Socket::new(NETLINK_NETFILTER) {
            Err(error) if error.raw_os_error() == Some(Errno::EPROTONOSUPPORT as i32) => return Ok(Self(None)),
            socket => socket?,
        };
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(Some(socket)))
    }

    /// The families for which that is so.
    pub(super) fn families_with(
        &mut self,
        mut has: impl FnMut(&mut Self, u8) -> io::Result<bool>,
    ) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        for (family, _) in FAMILIES {
            if has(self, family)? {
                found.push(family);
            }
        }
        Ok(found)
    }

    pub(super) fn has_table(&mut self, family: u8, table: &str) -> io::Result<bool> {
        self.ask(&request(GET_TABLE, family, &[(TABLE_NAME, table)]))
    }

    pub(super) fn has_chain(&mut self, family: u8, table: &str, chain: &str) -> io::Result<bool> {
        self.ask(&request(GET_CHAIN, family, &[(CHAIN_TABLE, table), (CHAIN_NAME, chain)]))
    }

    /// Whether the kernel answers with an object.
    fn ask(&mut self, request: &[u8]) -> io::Result<bool> {
        let Some(socket) = &mut self.0 else { return Ok(false) };
        socket.send(request, 0)?;
        let mut answer = Vec::with_capacity(DATAGRAM);
        socket.recv(&mut answer, 0)?;
        found(&answer)
    }
}

fn request(kind: u16, family: u8, attributes: &[(u16, &str)]) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    for (name, value) in attributes {
        // The text and its zero; names here are a few bytes long.
        let length = u16::try_from(ATTRIBUTE + value.len() + 1).unwrap_or(u16::MAX);
        body.extend(length.to_ne_bytes());
        body.extend(name.to_ne_bytes());
        body.extend(value.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    // Nobody looks at its number.
    netlink::message(kind, 0, 0, &body)
}

fn found(answer: &[u8]) -> io::Result<bool> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk()).ok_or_else(short)?;
    if u16::from_ne_bytes(*kind) != ERROR {
        return Ok(true);
    }
    let code = answer.get(HEADER..).and_then(|rest| rest.first_chunk()).ok_or_else(short)?;
    let code = -i32::from_ne_bytes(*code);
    // No such table or chain; or no such subsystem, as a kernel without nftables says.
    let absent = [Errno::ENOENT, Errno::EINVAL, Errno::EOPNOTSUPP].iter().any(|errno| *errno as i32 == code);
    if absent { Ok(false) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_as_the_kernel_reads_it() {
        let message = request(GET_TABLE, 2, &[(TABLE_NAME, "kube-proxy")]);
        assert_eq!(message[..8], [36, 0, 0, 0, 0x01, 0x0a, 1, 0]);
        assert_eq!(message[16..], *b"\x02\0\0\0\x0f\0\x01\0kube-proxy\0\0");
    }

    #[test]
    fn an_answer_says_whether_it_is_there() {
        let error = |errno: Errno| {
            let mut answer = vec![0; HEADER];
            answer[4] = 2;
            answer.extend((-(errno as i32)).to_ne_bytes());
            found(&answer)
        };
        assert!(!error(Errno::ENOENT).unwrap() && !error(Errno::EINVAL).unwrap());
        assert_eq!(error(Errno::EPERM).unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
        assert!(found(&request(10 << 8, 2, &[])).unwrap());
        assert!(found(&[0; 3]).is_err());
    }
}
